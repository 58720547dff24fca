/* matmul, fft, mandelbrot, spectral, stream: floating point with regular memory accesses, with strided ones, with
 * almost none, with many divisions, and with nothing but memory traffic. */
#include "bench.h"
#include "expected.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* matmul: double precision, the textbook loop nest. The elements are small integers, so the result is exact. */
enum { MATMUL = 112 };

static double matrix_a[MATMUL][MATMUL], matrix_b[MATMUL][MATMUL], matrix_c[MATMUL][MATMUL];

static int setup_matmul(void)
{
    uint64_t rng = 3;
    for (int i = 0; i < MATMUL; i++)
        for (int j = 0; j < MATMUL; j++) {
            matrix_a[i][j] = (double)(bench_random(&rng) % 2001) - 1000;
            matrix_b[i][j] = (double)(bench_random(&rng) % 2001) - 1000;
        }
    return 0;
}

static BENCH_NOINLINE void multiply(void)
{
    for (int i = 0; i < MATMUL; i++)
        for (int j = 0; j < MATMUL; j++) {
            double sum = 0;
            for (int k = 0; k < MATMUL; k++)
                sum += matrix_a[i][k] * matrix_b[k][j];
            matrix_c[i][j] = sum;
        }
}

static uint64_t iterate_matmul(void)
{
    uint64_t sum = 0;
    multiply();
    for (int i = 0; i < MATMUL; i++)
        for (int j = 0; j < MATMUL; j++)
            sum = bench_fold(sum, (uint64_t)(int64_t)matrix_c[i][j]);
    return sum;
}

const struct bench_program bench_matmul = {
    .name = "matmul",
    .class = BENCH_FLOAT,
    .unit = "MFLOP",
    .units_per_iteration = 2e-6 * MATMUL * MATMUL * MATMUL,
    .setup = setup_matmul,
    .iterate = iterate_matmul,
    .expected = EXPECTED_MATMUL,
};

/* fft: radix 2, decimation in time, in place, 4096 complex points. */
enum { FFT_BITS = 12, FFT_POINTS = 1 << FFT_BITS };

struct complex_f64 {
    double re, im;
};

static struct complex_f64 signal[FFT_POINTS], spectrum[FFT_POINTS], twiddles[FFT_POINTS / 2];

static int setup_fft(void)
{
    uint64_t rng = 4;
    for (int i = 0; i < FFT_POINTS; i++) {
        signal[i].re = (double)(bench_random(&rng) % 4096) / 2048 - 1;
        signal[i].im = (double)(bench_random(&rng) % 4096) / 2048 - 1;
    }
    for (int i = 0; i < FFT_POINTS / 2; i++) {
        double angle = -2 * 3.141592653589793 * i / FFT_POINTS;
        twiddles[i] = (struct complex_f64){cos(angle), sin(angle)};
    }
    return 0;
}

static void copy_bit_reversed(void)
{
    for (unsigned i = 0; i < FFT_POINTS; i++) {
        unsigned reversed = 0;
        for (unsigned bit = 0; bit < FFT_BITS; bit++)
            reversed |= (i >> bit & 1) << (FFT_BITS - 1 - bit);
        spectrum[reversed] = signal[i];
    }
}

static BENCH_NOINLINE void transform(void)
{
    copy_bit_reversed();
    for (int half = 1; half < FFT_POINTS; half *= 2)
        for (int start = 0; start < FFT_POINTS; start += 2 * half)
            for (int k = 0; k < half; k++) {
                struct complex_f64 w = twiddles[k * (FFT_POINTS / 2 / half)];
                struct complex_f64 *a = &spectrum[start + k], *b = &spectrum[start + k + half];
                double re = b->re * w.re - b->im * w.im, im = b->re * w.im + b->im * w.re;
                *b = (struct complex_f64){a->re - re, a->im - im};
                *a = (struct complex_f64){a->re + re, a->im + im};
            }
}

/* A few lines of the spectrum, weighted, so that expected.py can compute them from the definition. */
static double iterate_fft(void)
{
    double sum = 0;
    transform();
    for (int i = 1; i <= 16; i++) {
        const struct complex_f64 *line = &spectrum[i * 251 % FFT_POINTS];
        sum += i * line->re + (17 - i) * line->im;
    }
    return sum;
}

const struct bench_program bench_fft = {
    .name = "fft",
    .class = BENCH_FLOAT,
    .unit = "transforms",
    .units_per_iteration = 1,
    .setup = setup_fft,
    .iterate_real = iterate_fft,
    .expected_real = EXPECTED_FFT,
    .tolerance = 1e-9,
};

/* mandelbrot: iterations until escape, summed over a square grid. At the border of the set one rounding more or less
 * changes a count, hence a tolerance on the sum. */
enum { MANDELBROT_SIDE = 96, MANDELBROT_LIMIT = 200 };

static BENCH_NOINLINE int escape_time(double re, double im)
{
    double x = 0, y = 0;
    int n = 0;
    for (; n < MANDELBROT_LIMIT && x * x + y * y <= 4; n++) {
        double t = x * x - y * y + re;
        y = 2 * x * y + im;
        x = t;
    }
    return n;
}

static double iterate_mandelbrot(void)
{
    double sum = 0;
    for (int j = 0; j < MANDELBROT_SIDE; j++)
        for (int i = 0; i < MANDELBROT_SIDE; i++)
            sum += escape_time(-2.0 + 2.5 * i / MANDELBROT_SIDE, -1.25 + 2.5 * j / MANDELBROT_SIDE);
    return sum;
}

const struct bench_program bench_mandelbrot = {
    .name = "mandelbrot",
    .class = BENCH_FLOAT,
    .unit = "points",
    .units_per_iteration = MANDELBROT_SIDE * MANDELBROT_SIDE,
    .iterate_real = iterate_mandelbrot,
    .expected_real = EXPECTED_MANDELBROT,
    .tolerance = 1e-3,
};

/* spectral: the norm of the infinite matrix 1 / ((i + j)(i + j + 1) / 2 + i + 1), cut off at SPECTRAL rows, by the
 * power method. */
enum { SPECTRAL = 120, SPECTRAL_ROUNDS = 10 };

static double element(int i, int j)
{
    int diagonal = (i + j) * (i + j + 1) / 2;
    return 1.0 / (diagonal + i + 1);
}

static BENCH_NOINLINE void times_matrix(const double *v, double *out, bool transposed)
{
    for (int i = 0; i < SPECTRAL; i++) {
        double sum = 0;
        for (int j = 0; j < SPECTRAL; j++)
            sum += (transposed ? element(j, i) : element(i, j)) * v[j];
        out[i] = sum;
    }
}

static double iterate_spectral(void)
{
    double u[SPECTRAL], v[SPECTRAL], half[SPECTRAL], uv = 0, vv = 0;
    for (int i = 0; i < SPECTRAL; i++)
        u[i] = 1;
    for (int round = 0; round < SPECTRAL_ROUNDS; round++) {
        times_matrix(u, half, false);
        times_matrix(half, v, true);
        times_matrix(v, half, false);
        times_matrix(half, u, true);
    }
    for (int i = 0; i < SPECTRAL; i++) {
        uv += u[i] * v[i];
        vv += v[i] * v[i];
    }
    return sqrt(uv / vv);
}

const struct bench_program bench_spectral = {
    .name = "spectral",
    .class = BENCH_FLOAT,
    .unit = "runs",
    .units_per_iteration = 1,
    .iterate_real = iterate_spectral,
    .expected_real = EXPECTED_SPECTRAL,
    .tolerance = 1e-12,
};

/* stream: copy, scale, add and triad over three arrays of 16 MiB, in the spirit of McCalpin's STREAM. With the factor
 * sqrt(2) - 1 one iteration's triad gives back the values it started from (2s + s * s = 1), so every iteration is
 * alike. */
enum { STREAM_ELEMENTS = 1 << 21, STREAM_SAMPLES = 64 };

static double *stream_a, *stream_b, *stream_c;

static int setup_stream(void)
{
    size_t bytes = STREAM_ELEMENTS * sizeof(double);
    stream_a = aligned_alloc(4096, bytes);
    stream_b = aligned_alloc(4096, bytes);
    stream_c = aligned_alloc(4096, bytes);
    if (!stream_a || !stream_b || !stream_c)
        return -ENOMEM;
    for (size_t i = 0; i < STREAM_ELEMENTS; i++)
        stream_a[i] = 1 + (double)(i % 1000);
    return 0;
}

static BENCH_NOINLINE void stream_copy(double *restrict to, const double *restrict from)
{
    for (size_t i = 0; i < STREAM_ELEMENTS; i++)
        to[i] = from[i];
}

static BENCH_NOINLINE void stream_scale(double *restrict to, const double *restrict from, double s)
{
    for (size_t i = 0; i < STREAM_ELEMENTS; i++)
        to[i] = s * from[i];
}

static BENCH_NOINLINE void stream_add(double *restrict to, const double *restrict a, const double *restrict b)
{
    for (size_t i = 0; i < STREAM_ELEMENTS; i++)
        to[i] = a[i] + b[i];
}

static BENCH_NOINLINE void stream_triad(double *restrict to, const double *restrict a, const double *restrict b,
                                        double s)
{
    for (size_t i = 0; i < STREAM_ELEMENTS; i++)
        to[i] = a[i] + s * b[i];
}

/* A sample of the three arrays. */
static double iterate_stream(void)
{
    const double s = 0.41421356237309503;
    double sum = 0;
    stream_copy(stream_c, stream_a);
    stream_scale(stream_b, stream_c, s);
    stream_add(stream_c, stream_a, stream_b);
    stream_triad(stream_a, stream_b, stream_c, s);
    for (size_t i = 0; i < STREAM_SAMPLES; i++) {
        size_t at = i * 32749 % STREAM_ELEMENTS;
        sum += stream_a[at] + 2 * stream_b[at] + 3 * stream_c[at];
    }
    return sum;
}

const struct bench_program bench_stream = {
    .name = "stream",
    .class = BENCH_FLOAT,
    .unit = "MB",
    .units_per_iteration = 10 * 8e-6 * STREAM_ELEMENTS,
    .setup = setup_stream,
    .iterate_real = iterate_stream,
    .expected_real = EXPECTED_STREAM,
    .tolerance = 1e-9,
};
