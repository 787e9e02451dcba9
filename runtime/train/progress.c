/* progress.c: how far training is, on stderr: a line drawn anew on a terminal, elsewhere a line at the end of
 * an epoch and every ten seconds. It decides nothing and changes nothing. */
#include "runtime.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 24 };
static const double REDRAW = 0.1, EPOCH_LINE = 1, LINE = 10; /* seconds between two lines */
static const double MEMORY = 10;                             /* seconds over which the pace is smoothed */

void meter_begin(Meter *k, FILE *stream, int batch, uint64_t total, uint64_t per_epoch)
{
    double now = clock_seconds();
    *k = (Meter){.stream = stream,
                 .terminal = isatty(fileno(stream)) == 1,
                 .batch = batch,
                 .total = total,
                 .per_epoch = per_epoch,
                 .stepped = now,
                 .shown = now};
}

static bool line_is_due(const Meter *k, uint64_t finished, double now)
{
    double age = now - k->shown;
    if (finished == k->total)
        return true;
    if (k->terminal)
        return age >= REDRAW;
    return age >= LINE || (age >= EPOCH_LINE && finished % k->per_epoch == 0);
}

static void draw_bar(const Meter *k, uint64_t finished)
{
    int full = (int)(BAR * (double)finished / (double)k->total);
    fputc('[', k->stream);
    for (int i = 0; i < BAR; i++)
        fputc(i < full ? '#' : '.', k->stream);
    fputs("] ", k->stream);
}

static void draw_line(const Meter *k, uint64_t finished, double loss)
{
    const double most = 1e15; /* seconds */
    uint64_t epochs = k->total / k->per_epoch + (k->total % k->per_epoch != 0);
    uint64_t epoch = finished / k->per_epoch + (finished % k->per_epoch != 0);
    uint64_t left = (uint64_t)fmin((double)(k->total - finished) * k->pace + 0.5, most);
    if (k->terminal) {
        fputc('\r', k->stream);
        draw_bar(k, finished);
    }
    fprintf(k->stream,
            "epoch %" PRIu64 "/%" PRIu64 "  step %" PRIu64 "/%" PRIu64 "  loss %.4f  %.1f images/s  ", epoch,
            epochs, finished, k->total, loss, k->batch / k->pace);
    fprintf(k->stream, "%" PRIu64 ":%02d:%02d left", left / 3600, (int)(left / 60 % 60), (int)(left % 60));
    fputs(k->terminal ? "\033[K" : "\n", k->stream);
    fflush(k->stream);
}

void meter_step(Meter *k, uint64_t finished, double loss)
{
    double now = clock_seconds();
    double step = fmax(now - k->stepped, 1e-9);
    k->pace = k->pace == 0 ? step : k->pace + (step - k->pace) * (1 - exp(-step / MEMORY));
    k->stepped = now;
    if (progress_is_silent() || !line_is_due(k, finished, now))
        return;
    draw_line(k, finished, loss);
    k->shown = now;
}

__attribute__((format(printf, 2, 0))) static void say_between(Meter *k, const char *format, va_list args)
{
    char text[2048];
    vsnprintf(text, sizeof text, format, args);
    if (k->terminal && !progress_is_silent())
        fputs("\r\033[K", k->stream);
    say_line(k->stream, "%s", text);
    fflush(k->stream);
}

void meter_say(Meter *k, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_between(k, format, args);
    va_end(args);
    k->stepped = clock_seconds();
}

void meter_progress(Meter *k, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!progress_is_silent())
        say_between(k, format, args);
    va_end(args);
    k->stepped = clock_seconds();
}

void meter_end(Meter *k)
{
    if (k->terminal && k->pace > 0 && !progress_is_silent())
        fputc('\n', k->stream);
    k->pace = 0;
}
