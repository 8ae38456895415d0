# The floating-point mode of a thread: round to nearest, keep subnormals, trap nothing. Another package may have switched on flushing
# of subnormals (FTZ, DAZ), and worker threads inherit it; results must not depend on that. Mode and status flags of the caller come
# back afterwards: what is computed here is none of the caller's operations.

cdef extern from *:
    """
    #if defined(__x86_64__) || defined(_M_X64)
    #include <xmmintrin.h>
    typedef unsigned int cylosses_mode;
    static inline cylosses_mode cylosses_set_default_mode(void) {
        cylosses_mode old = _mm_getcsr(), mode = (old & 0x3fu) | 0x1f80u;
        if (old != mode) _mm_setcsr(mode);
        return old;
    }
    static inline void cylosses_restore_mode(cylosses_mode old) {
        if (_mm_getcsr() != old) _mm_setcsr(old);
    }
    #elif defined(__aarch64__) && defined(__GNUC__)
    typedef unsigned long cylosses_mode;                /* the control register above, the status register in the low half */
    static inline cylosses_mode cylosses_set_default_mode(void) {
        cylosses_mode control, status;
        __asm__ volatile("mrs %0, fpcr" : "=r"(control));
        __asm__ volatile("mrs %0, fpsr" : "=r"(status));
        if (control) __asm__ volatile("msr fpcr, %0" : : "r"(0ul));
        return control << 32 | (status & 0xfffffffful);
    }
    static inline void cylosses_restore_mode(cylosses_mode old) {
        if (old >> 32) __asm__ volatile("msr fpcr, %0" : : "r"(old >> 32));
        __asm__ volatile("msr fpsr, %0" : : "r"(old & 0xfffffffful));
    }
    #else
    typedef int cylosses_mode;
    static inline cylosses_mode cylosses_set_default_mode(void) { return 0; }
    static inline void cylosses_restore_mode(cylosses_mode old) { (void)old; }
    #endif
    """
    ctypedef unsigned long cylosses_mode
    cylosses_mode set_default_mode "cylosses_set_default_mode"() noexcept nogil
    void restore_mode "cylosses_restore_mode"(cylosses_mode old) noexcept nogil
