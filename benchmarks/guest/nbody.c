/* nbody, nbody_f32: planets in double and in single precision: chains of multiplications and additions, square
 * roots and divisions over a few cache lines. */
#include "bench.h"
#include "expected.h"

#include <math.h>

enum { NBODY_BODIES = 5, NBODY_STEPS = 5000 };

#define NBODY_SOLAR_MASS (4 * 3.141592653589793 * 3.141592653589793)
#define NBODY_DAYS_PER_YEAR 365.24

static const struct {
    double position[3], velocity_per_day[3], mass;
} nbody_start[NBODY_BODIES] = {
    {{0, 0, 0}, {0, 0, 0}, 1},
    {{4.84143144246472090, -1.16032004402742839, -0.103622044471123109},
     {0.00166007664274403694, 0.00769901118419740425, -0.0000690460016972063023},
     0.000954791938424326609},
    {{8.34336671824457987, 4.12479856412430479, -0.403523417114321381},
     {-0.00276742510726411619, 0.00499852801234917238, 0.0000230417297573763929},
     0.000285885980666130812},
    {{12.8943695621391310, -15.1111514016986312, -0.223307578892655734},
     {0.00296460137564761618, 0.00237847173959480950, -0.0000296589568540237556},
     0.0000436624404335156298},
    {{15.3796971148509165, -25.9193146099879641, 0.179258772950371181},
     {0.00268067772490389322, 0.00162824170038242295, -0.0000951592254519715870},
     0.0000515138902046611451},
};

#define REAL double
#define NAME(x) x##_f64
#define NBODY_SQRT sqrt
#include "nbody.inc"
#undef REAL
#undef NAME
#undef NBODY_SQRT
#define REAL float
#define NAME(x) x##_f32
#define NBODY_SQRT sqrtf
#include "nbody.inc"

const struct bench_program bench_nbody = {
    .name = "nbody",
    .class = BENCH_FLOAT,
    .unit = "steps",
    .units_per_iteration = NBODY_STEPS,
    .iterate_real = iterate_f64,
    .expected_real = EXPECTED_NBODY,
    .tolerance = 1e-7,
};

/* Single precision drifts over the steps: about 1e-4 with one rounding or the other. */
const struct bench_program bench_nbody_f32 = {
    .name = "nbody_f32",
    .class = BENCH_FLOAT,
    .unit = "steps",
    .units_per_iteration = NBODY_STEPS,
    .iterate_real = iterate_f32,
    .expected_real = EXPECTED_NBODY,
    .tolerance = 0.02,
};
