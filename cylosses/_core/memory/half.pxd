# Half precision, float16 and bfloat16: computed in float32, and rounded to nearest-even.

cimport cython
from libc.stdint cimport uint16_t, uint32_t

from cylosses._core.bits cimport Bits32
from cylosses._core.job cimport FLOAT16


@cython.overflowcheck(False)        # arithmetic on the bits wraps
cdef inline float from_float16(uint16_t half) noexcept nogil:
    cdef Bits32 b, scale
    b.u = (<uint32_t> (half & 0x7fff)) << 13
    if b.u >= 0x0f800000u:          # infinity or NaN
        b.u |= 0x7f800000u
    else:                           # the exponents differ by 112; the product is exact and normalises subnormals
        scale.u = (127 + 112) << 23
        b.f = b.f * scale.f
    b.u |= (<uint32_t> (half & 0x8000)) << 16
    return b.f


@cython.overflowcheck(False)        # arithmetic on the bits wraps
cdef inline uint16_t to_float16(float v) noexcept nogil:
    """Rounded to nearest-even."""
    cdef Bits32 b, magic
    cdef uint32_t sign
    b.f = v
    sign = b.u & 0x80000000u
    b.u ^= sign
    sign >>= 16
    if b.u > 0x7f800000u:
        return <uint16_t> (sign | 0x7e00)
    if b.u >= 0x477ff000u:          # 65520 and more round to infinity
        return <uint16_t> (sign | 0x7c00)
    if b.u < 0x38800000u:           # subnormal: adding 0.5 rounds at 2**-24, the last position
        magic.f = 0.5
        b.f = b.f + magic.f
        return <uint16_t> (sign | (b.u - magic.u))
    b.u += 0xfff + ((b.u >> 13) & 1)
    return <uint16_t> (sign | ((b.u - (112u << 23)) >> 13))


cdef inline float from_bfloat16(uint16_t half) noexcept nogil:
    cdef Bits32 b
    b.u = (<uint32_t> half) << 16
    return b.f


@cython.overflowcheck(False)        # arithmetic on the bits wraps
cdef inline uint16_t to_bfloat16(float v) noexcept nogil:
    """Rounded to nearest-even."""
    cdef Bits32 b
    b.f = v
    if v != v:
        return <uint16_t> ((b.u >> 16) | 0x40)
    return <uint16_t> ((b.u + 0x7fff + ((b.u >> 16) & 1)) >> 16)


cdef inline float narrowed(float v, int storage) noexcept nogil:
    """v rounded to float16 or bfloat16."""
    if storage == FLOAT16:
        return from_float16(to_float16(v))
    return from_bfloat16(to_bfloat16(v))
