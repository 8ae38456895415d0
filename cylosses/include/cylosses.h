/* The C level of cylosses: exact regression losses on plain pointers, without Python objects and without the GIL.
 *
 *     #include "cylosses.h"                   the folder is cylosses.get_include()
 *
 *     if (cylosses_import() < 0)              once in each source file, with the GIL; sets a Python exception if it fails
 *         return NULL;
 *     status = cylosses_api->value_float64(CYLOSSES_HUBER, 1.0, CYLOSSES_MEAN, input, target, NULL, n, 1, &mean);
 *     if (status != CYLOSSES_OK)
 *         puts(cylosses_api->status_message(status));
 *
 * Everything behind `cylosses_api` may be called from any thread, with or without the GIL, and runs the build of the loops that
 * this CPU runs best. Results are those of the Python functions, bit for bit. docs/c-api.md is the guide; it shows Cython, ctypes,
 * cffi and numba too.
 *
 * What all array functions have in common:
 *
 *   loss, parameter   one of enum cylosses_loss, and its parameter; 0 for losses without one.
 *   input, target     n elements each, contiguous and aligned.
 *   weight            n finite numbers of at least 0, or NULL. Weight 0 removes an element, whatever it holds; weight k counts it
 *                     k times.
 *   n                 number of elements. If it is 0, arrays may be NULL; the sum of nothing is 0, its mean NaN.
 *   n_threads         1: the calling thread does everything, which is what parallel callers want, and the best default. More: at
 *                     most so many threads. 0: as many as the Python functions use (cylosses.set_num_threads()).
 *   outputs           come last. An output array may be one of the inputs; apart from that, arrays must not overlap.
 *
 * They return one of enum cylosses_status. Where that is not CYLOSSES_OK, results that are single numbers, and accumulators, are as
 * they were before. An output array that is one of the inputs is as it was, too; what another one then holds is undefined.
 *
 * Compatibility: numbers of the enumerations and the places of the functions never change while CYLOSSES_ABI_VERSION stays; new
 * functions are added at the end. */

#ifndef CYLOSSES_H
#define CYLOSSES_H

#include <Python.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CYLOSSES_ABI_VERSION 1

/* The losses. d is input - target. Everything in the package that numbers losses follows this. */
enum cylosses_loss {
    /* generated: numbers of the losses (python -m tools.generate) */
    CYLOSSES_SMOOTH_L1 = 0,             /* beta >= 0 */
    CYLOSSES_L1 = 1,                    /* no parameter: 0 */
    CYLOSSES_MSE = 2,                   /* no parameter: 0 */
    CYLOSSES_HUBER = 3,                 /* delta > 0 */
    CYLOSSES_TUKEY = 4,                 /* c > 0, finite */
    CYLOSSES_QUANTILE = 5,              /* 0 <= q <= 1 */
    CYLOSSES_EPSILON_INSENSITIVE = 6,   /* epsilon >= 0 */
    CYLOSSES_PSEUDO_HUBER = 7,          /* delta > 0 */
    CYLOSSES_CHARBONNIER = 8,           /* eps > 0, finite */
    CYLOSSES_GEMAN_MCCLURE = 9          /* c > 0, finite */
    /* generated: end */
};

/* The exact sum of weight times loss, rounded once; or that over the sum of the weights (the number of elements, without). */
enum cylosses_reduction {
    CYLOSSES_SUM = 0,
    CYLOSSES_MEAN = 1
};

/* What stands for the second derivative. */
enum cylosses_curvature {
    CYLOSSES_EXACT_CURVATURE = 0,       /* itself: 0 where the loss is linear, negative where it is not convex */
    CYLOSSES_MM_CURVATURE = 1,          /* the IRLS weight psi(d) / d, which bounds it from above; capped at 2**20 slopes */
    CYLOSSES_UNIT_CURVATURE = 2         /* 1 */
};

enum cylosses_status {
    CYLOSSES_OK = 0,
    CYLOSSES_BAD_LOSS = 1,              /* no such loss */
    CYLOSSES_BAD_PARAMETER = 2,         /* not valid for the loss, perhaps only once it is rounded to float32; NaN never is */
    CYLOSSES_BAD_REDUCTION = 3,
    CYLOSSES_BAD_CURVATURE = 4,
    CYLOSSES_BAD_SIZE = 5,              /* negative, or more than memory holds */
    CYLOSSES_BAD_ARRAY = 6,             /* NULL, not aligned, or overlapping where it must not */
    CYLOSSES_BAD_WEIGHT = 7,            /* a weight is negative, infinite or NaN */
    CYLOSSES_BAD_THREADS = 8,           /* a negative number of threads */
    CYLOSSES_TOO_MANY = 9               /* an accumulator takes at most 2**63 - 1 elements */
};

/* An exact sum that grows: of one loss or of several, of float32 and of float64. One thread at a time may use it. */
typedef struct cylosses_accumulator cylosses_accumulator;

typedef struct cylosses_functions {
    int abi_version;
    size_t size;                        /* of this struct in the installed cylosses */

    /* Whether loss and parameter are valid, for arrays of either type. */
    int (*check_float32)(int loss, double parameter);
    int (*check_float64)(int loss, double parameter);

    /* A status in words, as static text. */
    const char *(*status_message)(int status);

    /* The exact sum or mean, rounded once. */
    int (*value_float32)(int loss, double parameter, int reduction, const float *input, const float *target, const float *weight,
                         ptrdiff_t n, int n_threads, float *value);
    int (*value_float64)(int loss, double parameter, int reduction, const double *input, const double *target, const double *weight,
                         ptrdiff_t n, int n_threads, double *value);

    /* Weight times loss of each element. */
    int (*elementwise_value_float32)(int loss, double parameter, const float *input, const float *target, const float *weight,
                                     ptrdiff_t n, int n_threads, float *values);
    int (*elementwise_value_float64)(int loss, double parameter, const double *input, const double *target, const double *weight,
                                     ptrdiff_t n, int n_threads, double *values);

    /* The gradient of the sum or mean with respect to input. */
    int (*gradient_float32)(int loss, double parameter, int reduction, const float *input, const float *target, const float *weight,
                            ptrdiff_t n, int n_threads, float *gradient);
    int (*gradient_float64)(int loss, double parameter, int reduction, const double *input, const double *target,
                            const double *weight, ptrdiff_t n, int n_threads, double *gradient);

    /* Both, from one pass over the arrays. */
    int (*value_and_gradient_float32)(int loss, double parameter, int reduction, const float *input, const float *target,
                                      const float *weight, ptrdiff_t n, int n_threads, float *value, float *gradient);
    int (*value_and_gradient_float64)(int loss, double parameter, int reduction, const double *input, const double *target,
                                      const double *weight, ptrdiff_t n, int n_threads, double *value, double *gradient);

    /* Gradient and diagonal of the Hessian of the sum or mean with respect to input, from one pass over the arrays. */
    int (*gradient_and_hessian_float32)(int loss, double parameter, int reduction, int curvature, const float *input,
                                        const float *target, const float *weight, ptrdiff_t n, int n_threads, float *gradient,
                                        float *hessian);
    int (*gradient_and_hessian_float64)(int loss, double parameter, int reduction, int curvature, const double *input,
                                        const double *target, const double *weight, ptrdiff_t n, int n_threads, double *gradient,
                                        double *hessian);

    /* One residual d = input - target: the loss and its derivatives in d, and the IRLS weight psi(d) / d. NaN if the loss or its
     * parameter is not valid. For many residuals, array functions are faster. */
    float (*scalar_value_float32)(int loss, double parameter, float residual);
    double (*scalar_value_float64)(int loss, double parameter, double residual);
    float (*scalar_derivative_float32)(int loss, double parameter, float residual);
    double (*scalar_derivative_float64)(int loss, double parameter, double residual);
    float (*scalar_second_derivative_float32)(int loss, double parameter, float residual);
    double (*scalar_second_derivative_float64)(int loss, double parameter, double residual);
    float (*scalar_irls_weight_float32)(int loss, double parameter, float residual);
    double (*scalar_irls_weight_float64)(int loss, double parameter, double residual);

    /* A new accumulator, empty, on the heap; NULL if there is no memory. */
    cylosses_accumulator *(*accumulator_new)(void);
    /* Give it back; NULL is fine. */
    void (*accumulator_free)(cylosses_accumulator *accumulator);
    /* Make it empty. */
    void (*accumulator_clear)(cylosses_accumulator *accumulator);
    /* Number of elements so far that count: those of weight 0 do not. */
    uint64_t (*accumulator_count)(const cylosses_accumulator *accumulator);
    /* Add the losses of a piece. Any cutting into pieces gives the bits of a single call. */
    int (*accumulator_update_float32)(cylosses_accumulator *accumulator, int loss, double parameter, const float *input,
                                      const float *target, const float *weight, ptrdiff_t n, int n_threads);
    int (*accumulator_update_float64)(cylosses_accumulator *accumulator, int loss, double parameter, const double *input,
                                      const double *target, const double *weight, ptrdiff_t n, int n_threads);
    /* Add what another accumulator holds; it may be the same one. In any order. */
    int (*accumulator_merge)(cylosses_accumulator *accumulator, const cylosses_accumulator *other);
    /* The sum or mean so far, rounded once. The accumulator stays as it is and may grow on. */
    int (*accumulator_finish_float32)(const cylosses_accumulator *accumulator, int reduction, float *value);
    int (*accumulator_finish_float64)(const cylosses_accumulator *accumulator, int reduction, double *value);
} cylosses_functions;

static const cylosses_functions *cylosses_api = NULL;

/* Import the functions into this source file. Needs the GIL. Returns 0, or -1 with a Python exception set. */
static inline int cylosses_import(void) {
    const cylosses_functions *found;
    PyObject *module = PyImport_ImportModule("cylosses.capi"); /* PyCapsule_Import() imports the package alone */
    if (module == NULL) {
        return -1;
    }
    Py_DECREF(module);
    found = (const cylosses_functions *)PyCapsule_Import("cylosses.capi._C_API", 0);
    if (found == NULL) {
        return -1;
    }
    if (found->abi_version != CYLOSSES_ABI_VERSION) {
        PyErr_Format(PyExc_ImportError,
                     "this was compiled for version %d of the C interface of cylosses, but the installed cylosses has version %d: "
                     "compile it again",
                     CYLOSSES_ABI_VERSION, found->abi_version);
        return -1;
    }
    if (found->size < sizeof(cylosses_functions)) {
        PyErr_Format(PyExc_ImportError,
                     "this was compiled with a newer cylosses than the installed one, whose C interface has %zu bytes instead of "
                     "%zu: upgrade cylosses",
                     found->size, sizeof(cylosses_functions));
        return -1;
    }
    cylosses_api = found;
    return 0;
}

#ifdef __cplusplus
}
#endif

#endif
