/* sweep_shown.c: figures -> text for people, each kind with as many digits wherever it stands: accuracies to
 * a tenth of a percent, which is less than what other test images would change. The files have all digits. */
#include "sweep.h"
#include <math.h>

/* What was not measured. */
static const char *shown(Arena *a, const char *format, double value)
{
    return isfinite(value) ? arena_printf(a, format, value) : "-";
}

enum { SPEED_WHOLE = 100 }; /* images a second from which on fractions say nothing */
enum { MINUTE = 60, HOUR = 3600, SECONDS_MOST = 100, MINUTES_MOST = 100 };

/* Halves go away from 0, wherever binary fractions put them. */
double percent_rounded(double share)
{
    return round(1000 * share + copysign(1e-9, share)) / 10;
}

const char *shown_percent(Arena *a, double share)
{
    return shown(a, "%.1f", percent_rounded(share));
}

/* As whoever subtracts them would. */
const char *shown_between(Arena *a, double low, double high)
{
    return shown(a, "%.1f", percent_rounded(high) - percent_rounded(low));
}

const char *shown_points(Arena *a, double share)
{
    return shown(a, "%+.1f", percent_rounded(share));
}

const char *shown_speed(Arena *a, double images_per_second)
{
    return shown(a, images_per_second < SPEED_WHOLE ? "%.1f" : "%.0f", images_per_second);
}

const char *shown_mebibytes(Arena *a, double bytes)
{
    return shown(a, "%.1f", bytes / MEBIBYTE);
}

const char *shown_loss(Arena *a, double loss)
{
    return shown(a, "%.3f", loss);
}

const char *shown_duration(Arena *a, double seconds)
{
    if (seconds < SECONDS_MOST)
        return shown(a, "%.1f s", seconds);
    return seconds < MINUTES_MOST * MINUTE ? shown(a, "%.1f min", seconds / MINUTE)
                                           : shown(a, "%.1f h", seconds / HOUR);
}
