# The floating-point mode of a thread: round to nearest, keep subnormals, trap nothing. Another package may have switched on flushing
# of subnormals (FTZ, DAZ), and worker threads inherit it; results must not depend on that. Status flags are left alone.

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
        cylosses_mode now = _mm_getcsr();
        if ((now ^ old) & ~0x3fu) _mm_setcsr((old & ~0x3fu) | (now & 0x3fu));
    }
    #elif defined(__aarch64__) && defined(__GNUC__)
    typedef unsigned long cylosses_mode;
    static inline cylosses_mode cylosses_set_default_mode(void) {
        cylosses_mode old, mode = 0;
        __asm__ volatile("mrs %0, fpcr" : "=r"(old));
        if (old != mode) __asm__ volatile("msr fpcr, %0" : : "r"(mode));
        return old;
    }
    static inline void cylosses_restore_mode(cylosses_mode old) {
        if (old) __asm__ volatile("msr fpcr, %0" : : "r"(old));
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
