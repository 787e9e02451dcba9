/* support.h: what the compiler and the runtime share and neither owns, one section a file; page.h,
 * processor.h, safetensors.h and utf8.h stand beside it. Needs only the C library, in digest.c xxhash.h and
 * in safetensors.c jsmn.h.
 *
 * Every function that can fail returns false (or NULL) and leaves one line in the Fault: what failed, why,
 * what to do. Only the callers print it. Texts are made printable on their way (text.c). */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define MEBIBYTE     (1024.0 * 1024.0)
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- fault.c: failing well ---- */

typedef struct {
    char
        text[1024]; /* one line, without the program's name or a final newline; a long one lacks its middle */
    int error;      /* errno of what the system refused (memory, a file), else 0 */
} Fault;

/* Formats into f->text and returns false, so that `return fault(f, ...)` reads well. */
bool fault(Fault *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, with ": " and strerror(errno) behind it. */
bool fault_errno(Fault *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* malloc / calloc aligned to 64 bytes that fail by fault ("out of memory: ... MiB for WHAT"). Freed by
 * free(). */
void *allocate(size_t bytes, const char *what, Fault *f);
void *allocate_zero(size_t bytes, const char *what, Fault *f);

/* ---- file.c: files that are there whole or not at all, and files that are read ---- */

/* A file written beside its name, synced and renamed over it by file_commit, so that a crash, a full disk or
 * a signal leaves the old one. One program at a time writes a file; what one that died has left beside it,
 * the next one removes. The file keeps the mode that it had. */
typedef struct FileTarget FileTarget;
typedef struct {
    FILE *stream;
    char *path, *temporary;
    FileTarget *target;
} NewFile;
bool file_create(NewFile *n, const char *path, Fault *f);
/* What was written is on the disk, and no error can come but of giving the file its name. */
bool file_flush(NewFile *n, Fault *f);
/* Checks every error since file_create; the temporary goes on failure. */
bool file_commit(NewFile *n, Fault *f);
/* The same; what it replaces, if anything, stays as `previous`, a name in the same folder. At every moment
 * one of the two is there, whole. */
bool file_commit_keeping(NewFile *n, const char *previous, Fault *f);
/* In place of the mode that the file had; of what is written directly it stays. */
bool file_set_mode(const NewFile *n, mode_t mode, Fault *f);
bool file_fault(const NewFile *n, Fault *f); /* why the stream's latest write failed */
void file_discard(NewFile *n);               /* harmless after file_commit */
/* Removes what programs that died while they wrote these files of a folder have left there; what is in use
 * stays. */
bool file_remove_left_over(const char *folder, const char *const *name, int names, Fault *f);
bool file_is_same(const char *a, const char *b); /* both are there, and one; NULL is nothing */
bool file_is_output(const char *path);           /* what standard output goes to: nothing else may go there */
/* Whether `path` can be made or replaced, before hours go into what it shall hold: its folder is there, and
 * ours to write to. folder_may_be_made: it is one already, or the folder above, or above that, ... is so. */
bool file_may_be_made(const char *path, Fault *f);
bool folder_may_be_made(const char *path, Fault *f);
const char *file_kind(mode_t mode); /* "a file", "a folder", "a named pipe", "a socket", "a device" */
/* A descriptor, or -1: what is no regular file is refused, never waited for. */
int file_open_to_read(const char *path, Fault *f);
char *path_join(const char *a, const char *b); /* a/b, by malloc */

/* ---- text.c: text of others, shown to people ---- */

/* In place: every byte of a control character (line breaks and tabs are some), of what is no UTF-8, and of
 * what turns the direction of reading (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+206F) or begins
 * a line (U+2028, U+2029) becomes `?`. Nothing else changes, nor does the length. */
void text_printable(char *text);
/* `from` in at most `size` bytes; of a longer one the middle goes, so that its end, the reason, stays. */
void text_fit(char *to, size_t size, const char *from);

/* ---- say.c: lines for people, made printable ---- */

void say_line(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "note: ..." on stderr: what a person should know, though nothing has failed. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* How far something is, or that it is done: what nobody misses who asked for --quiet. The process is silent
 * from progress_silence() on; errors, notes and results are said all the same. */
void say_progress(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* That something is written to `path`: on standard output, but where that is `path` itself on standard error.
 */
void say_written(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
void progress_silence(void);
bool progress_is_silent(void);

/* ---- nearest.c: what was meant ---- */

/* The word tried that the writer of `typed` most likely meant, or NULL: one letter in three may be wrong, and
 * one in any; or one is the other's beginning. The first of several as near. Dashes in front count nothing.
 */
typedef struct {
    const char *typed;
    size_t length, distance;
    const char *word;
    bool begun; /* the word is no nearer than that */
} Nearest;
void nearest_begin(Nearest *n, const char *typed, size_t length);
void nearest_try(Nearest *n, const char *word);

/* ---- standard.c ---- */

/* The first thing in main(): opens those of the descriptors 0 to 2 that are closed, so that no file gets
 * their numbers. Writing to a standard output that was closed still fails; messages and input are nothing. */
void standard_streams_open(void);
/* ---- digest.c: telling bytes apart ---- */

/* XXH64 with seed 0 over all that is added, in whatever pieces: the same on every machine. It finds damage
 * and mix-ups, not forgery. */
typedef struct {
    uint64_t state[11];
} Digest;
void digest_begin(Digest *d);
void digest_add(Digest *d, const void *bytes, size_t count);
uint64_t digest_end(const Digest *d); /* of what was added so far; more may follow */

/* ---- json_text.c ---- */

/* Quoted and escaped; null for NULL. What is no UTF-8 becomes U+FFFD: JSON has no way to say it. */
void json_text(FILE *stream, const char *text);

/* ---- clock.c ---- */

double clock_seconds(void); /* a clock that only goes forward */

/* ---- statistics.c ---- */

/* The 95 % interval of a share of `count` trials (Wilson 1927, "Probable inference, the law of succession,
 * and statistical inference"). */
void share_interval(double share, uint32_t count, double *low, double *high);
double median(double *value, size_t count); /* of at least one; sorts them */
/* Weights that make a weighted sum the mean of the middle half: those between the quartiles have the same,
 * the others 0. One that other work on the machine slowed down does not count. */
void weigh_middle_half(const double *value, size_t count, double *weight);

/* ---- metrics_reader.c: RUN/metrics.jsonl, one object a line ---- */

typedef struct {
    uint64_t step, epoch;                        /* steps finished; the epoch the last of them was in */
    double loss, penalty, lr, images_per_second; /* losses are NAN of a step that was left out */
    double base_lr;                              /* from here on; 0 or NAN where it stays what it was */
    const double *pair_loss;                     /* (pairs) */
    const double *pair_accuracy;         /* (pairs) share of the positives found; NAN where a line has none */
    double probe, probe_low, probe_high; /* the linear probe's accuracy, its interval; NAN where a line has
                                            none */
    double knn, knn_low, knn_high;       /* likewise the nearest neighbours' */
} MetricsRow;

/* The file, line by line; what cannot be read as such a line (a torn last one, say) is passed over. */
typedef struct MetricsReader MetricsReader;
/* `pair` (pairs) names the pairs whose losses a line has. NULL with a fault; a missing file has no rows. */
MetricsReader *metrics_reader_open(const char *path, const char *const *pair, int pairs, Fault *f);
bool metrics_reader_found(const MetricsReader *r); /* the file is there */
/* The next readable row, which stays until the next call; NULL at the end. */
const MetricsRow *metrics_reader_next(MetricsReader *r);
const char *metrics_reader_line(const MetricsReader *r); /* the row's own text, its end included */
/* False with a fault where reading failed; frees the reader in any case. */
bool metrics_reader_close(MetricsReader *r, Fault *f);
/* Hands every readable row on, in order. */
typedef void MetricsSink(void *sink, const MetricsRow *row);
bool metrics_each(const char *path, const char *const *pair, int pairs, MetricsSink *sink, void *arg,
                  Fault *f);

#endif
