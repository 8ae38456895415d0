/* What the compiler that builds the loops must do, and what it says of itself. */

#ifndef CYLOSSES_COMPILER_H
#define CYLOSSES_COMPILER_H

#ifdef __FAST_MATH__
#error "cylosses cannot be exact under -ffast-math: build it without"
#endif
#include <float.h>
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16   /* 16: as 0, for more types */
#error "cylosses cannot be exact where float and double are computed wider than they are, as on an x87: use SSE2"
#endif
#ifdef _MSC_VER                 /* before 2022, /fp:precise alone contracts to fused multiply-add */
#pragma fp_contract (off)
#endif

/* Every function is compiled into each module that calls it, once for each type. CYLOSSES_OUTLINED: not into each caller as well,
   nor for each constant argument. CYLOSSES_RARE: and small rather than fast. Cython says `inline` of all functions in pxd files,
   and gcc warns where both stand. */
#if defined(__clang__)
#define CYLOSSES_OUTLINED __attribute__((noinline))
#define CYLOSSES_RARE __attribute__((noinline, cold))
#elif defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wattributes"
#define CYLOSSES_OUTLINED __attribute__((noipa))
#define CYLOSSES_RARE __attribute__((noipa, cold))
#else
#define CYLOSSES_OUTLINED
#define CYLOSSES_RARE
#endif

#ifdef _OPENMP
#include <omp.h>
#define CYLOSSES_OPENMP _OPENMP
/* LLVM's runtime answers a negative number for OMP_NUM_THREADS=-1. */
#define CYLOSSES_ALLOWED_THREADS() (omp_get_max_threads() > 0 ? omp_get_max_threads() : 1)
#if (defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9) || _OPENMP >= 201811    /* libgomp had it early */
#define CYLOSSES_RELEASE_THREADS() omp_pause_resource_all(omp_pause_hard)
#else
#define CYLOSSES_RELEASE_THREADS() ((void)0)
#endif
#else
#define CYLOSSES_OPENMP 0
#define CYLOSSES_ALLOWED_THREADS() 1
#define CYLOSSES_RELEASE_THREADS() ((void)0)
#endif

#ifndef CYLOSSES_FLAGS
#define CYLOSSES_FLAGS "unknown"
#endif

#if defined(__AVX512F__)
#define CYLOSSES_ISA "x86-64-v4"
#elif defined(__AVX2__)
#define CYLOSSES_ISA "x86-64-v3"
#elif defined(__SSE4_2__)
#define CYLOSSES_ISA "x86-64-v2"
#else
#define CYLOSSES_ISA "baseline"
#endif

#if defined(__VERSION__)
#if defined(__clang__)
#define CYLOSSES_COMPILER __VERSION__
#else
#define CYLOSSES_COMPILER "gcc " __VERSION__
#endif
#elif defined(_MSC_VER)
#define CYLOSSES_COMPILER "msvc"
#else
#define CYLOSSES_COMPILER "unknown"
#endif

#endif
