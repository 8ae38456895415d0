/* Scores predictions: reads pairs "prediction target" from standard input, and prints how many there were and their exact mean
 * Huber loss. There may be any number of them: they are never all in memory.
 *
 *     program PYTHON DELTA < pairs.txt
 *
 * PYTHON is the interpreter whose packages are used, the python of a virtual environment for example. Plain C, and C++ as well:
 *
 *     include=$(python -c 'import cylosses; print(cylosses.get_include())')
 *     cc program.c -o program -I"$include" $(python3-config --cflags --embed --ldflags) */

#include <cylosses.h>

#include <stdio.h>
#include <stdlib.h>

#define PIECE 1000

static int start_python(const char *program) {
    PyConfig config;
    PyStatus status;
    PyConfig_InitPythonConfig(&config);
    status = PyConfig_SetBytesString(&config, &config.program_name, program);
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    return PyStatus_Exception(status) ? -1 : 0;
}

/* The number of pairs that were read, at most `most`. */
static ptrdiff_t read_pairs(double *input, double *target, ptrdiff_t most) {
    ptrdiff_t n = 0;
    while (n < most && scanf("%lf %lf", &input[n], &target[n]) == 2) {
        n++;
    }
    return n;
}

static int score(double delta) {
    static double input[PIECE], target[PIECE];
    ptrdiff_t n;
    double mean;
    int status = CYLOSSES_OK;
    cylosses_accumulator *total = cylosses_api->accumulator_new();
    if (total == NULL) {
        fputs("no memory\n", stderr);
        return 1;
    }
    do {
        n = read_pairs(input, target, PIECE);
        status = cylosses_api->accumulator_update_float64(total, CYLOSSES_HUBER, delta, input, target, NULL, n, 1);
    } while (n == PIECE && status == CYLOSSES_OK);
    if (status == CYLOSSES_OK) {
        status = cylosses_api->accumulator_finish_float64(total, CYLOSSES_MEAN, &mean);
    }
    if (status == CYLOSSES_OK) {
        printf("%llu %.17g\n", (unsigned long long)cylosses_api->accumulator_count(total), mean);
    } else {
        fprintf(stderr, "cylosses: %s\n", cylosses_api->status_message(status));
    }
    cylosses_api->accumulator_free(total);
    return status == CYLOSSES_OK ? 0 : 1;
}

int main(int argc, char **argv) {
    int result;
    PyThreadState *state;
    if (argc != 3) {
        fprintf(stderr, "usage: %s PYTHON DELTA\n", argv[0]);
        return 2;
    }
    if (start_python(argv[1]) < 0) {
        fputs("Python does not start\n", stderr);
        return 1;
    }
    if (cylosses_import() < 0) {
        PyErr_Print();
        return 1;
    }
    state = PyEval_SaveThread(); /* what follows needs no Python, and other threads of the program might */
    result = score(atof(argv[2]));
    PyEval_RestoreThread(state);
    return Py_FinalizeEx() < 0 ? 1 : result;
}
