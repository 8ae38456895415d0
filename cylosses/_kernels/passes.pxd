from cylosses._kernels.job cimport Job

cdef void run(Job* job) noexcept nogil      # of type job.Run: dispatch.pyx takes its address from the module's C API table
