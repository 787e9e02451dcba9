/* cmd_check.c: every picture of every split read once and decoded, as training would, and what is wrong
 * listed in the order of the files.
 *
 * Pictures are read a chunk at a time on all threads. Held are one row of a picture a thread, and the
 * messages of one chunk. */
#include "runtime.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 1024 };

/* One thread's own. */
typedef struct {
    RowSink sink; /* first: what a picture's reader knows of */
    Picture picture;
    const AmdimModel *model;
    Workspace *workspace;
    int views; /* that training makes of a picture */
} Reader;

typedef struct {
    const AmdimModel *model;
    const char *dir;
    AmdimPool *pool;
    Reader *reader; /* (threads) */
    int readers;
    const Dataset *data; /* the split under way */
    uint32_t first;      /* of the chunk */
    char *wrong[CHUNK];  /* by malloc; NULL: well */
    bool failed[CHUNK];
    uint64_t pictures, faults;
} Checking;

/* Rows are decoded and not wanted; but training's views must have room beside them. */
static size_t begin_nothing(RowSink *sink, int width, int height)
{
    const Reader *own = (const Reader *)(void *)sink;
    return augment_holds(own->model, own->workspace, width, height, own->views);
}

static void take_nothing(RowSink *sink, int y, const uint8_t *row)
{
    (void)sink, (void)y, (void)row;
}

static void end_nothing(RowSink *sink)
{
    (void)sink;
}

static void check_picture(void *job, int part, int worker)
{
    Checking *k = job;
    Reader *own = &k->reader[worker];
    Fault f;
    own->views = k->data->read_second ? 1 : k->model->views;
    for (int view = 0; !k->failed[part] && view < (k->data->read_second ? 2 : 1); view++)
        k->failed[part] =
            !signals_received() && !picture_read_rows(k->data, k->first + (uint32_t)part, view,
                                                      k->model->channels, &own->picture, &own->sink, &f);
    if (k->failed[part])
        k->wrong[part] = strdup(f.text);
}

static void say_wrong(Checking *k, const char *text)
{
    k->faults++;
    puts(text);
}

static void list_chunk(Checking *k, int parts)
{
    for (int i = 0; i < parts; i++) {
        if (k->failed[i] && !signals_received())
            say_wrong(k, k->wrong[i] ? k->wrong[i] : "out of memory for a message");
        free(k->wrong[i]);
        k->wrong[i] = NULL;
        k->failed[i] = false;
    }
    fflush(stdout);
}

static void check_split(Checking *k, const Dataset *d)
{
    k->data = d;
    decoding_leave(d->bytes + d->count * sizeof(uint32_t)); /* an epoch's order, as the loader has it */
    for (k->first = 0; k->first < d->count && !signals_received(); k->first += CHUNK) {
        const uint32_t left = d->count - k->first;
        const int parts = left < CHUNK ? (int)left : CHUNK;
        amdim_parallel(k->pool, check_picture, k, parts);
        list_chunk(k, parts);
        k->pictures += (uint64_t)parts;
    }
}

static void tell_wrong(void *checking, const Fault *f)
{
    say_wrong(checking, f->text);
}

static Dataset *no_test_split(Dataset *undivided)
{
    data_close(undivided);
    say_progress(stderr, "no test split");
    return NULL;
}

/* The splits that can be opened are read; NULL for the others, whose faults are listed. Where the training
 * split cannot be opened, the test split may be the same pictures, whose fault is the same. */
static Dataset *open_split(Checking *k, Split split, const Dataset *train, Fault *f)
{
    const bool alone = split == SPLIT_TEST && !train;
    if (split == SPLIT_TEST && train && train->undivided)
        return no_test_split(NULL);
    Fault before = *f;
    Dataset *d = data_request(
        &(DataRequest){
            .dir = k->dir, .split = split, .whole = alone, .tell = alone ? NULL : tell_wrong, .teller = k},
        f);
    if (d && alone && d->undivided)
        return no_test_split(d);
    if (d)
        data_say(d, split);
    else if (strcmp(before.text, f->text) != 0) /* a folder that holds nothing is that once */
        say_wrong(k, f->text);
    return d;
}

/* Of pictures without labels, those that are not the training split's. */
static void check_unlabelled(Checking *k, const Dataset *train)
{
    Fault f;
    Dataset *d = train && !train->unlabelled ? data_open(k->dir, SPLIT_PRETRAIN, 0, &f) : NULL;
    if (d && d->unlabelled) {
        data_say(d, SPLIT_PRETRAIN);
        check_split(k, d);
    }
    data_close(d);
}

static void check_all(Checking *k, Fault *f)
{
    Dataset *train = open_split(k, SPLIT_TRAIN, NULL, f);
    if (train)
        check_split(k, train);
    Dataset *test = open_split(k, SPLIT_TEST, train, f);
    if (test)
        check_split(k, test);
    data_close(test);
    check_unlabelled(k, train);
    data_close(train);
}

static void checking_free(Checking *k)
{
    for (int i = 0; i < k->readers; i++) {
        picture_free(&k->reader[i].picture);
        workspace_free(k->reader[i].workspace);
    }
    free(k->reader);
    if (k->pool)
        pool_free(k->pool);
    free(k);
}

static Checking *checking_new(const AmdimModel *m, const Options *o, Fault *f)
{
    Checking *k = allocate_zero(sizeof *k, "checking pictures", f);
    if (!k)
        return NULL;
    k->model = m;
    k->dir = o->data;
    k->reader = allocate_zero((size_t)o->threads * sizeof *k->reader, "checking pictures", f);
    k->pool = k->reader ? pool_new(o->threads, 0, f) : NULL;
    if (!k->pool) {
        checking_free(k);
        return NULL;
    }
    for (; k->readers < o->threads; k->readers++) {
        Reader *own = &k->reader[k->readers];
        *own =
            (Reader){.sink = {.begin = begin_nothing, .take = take_nothing, .end = end_nothing}, .model = m};
        own->workspace = workspace_new(m, f);
        if (!own->workspace) {
            checking_free(k);
            return NULL;
        }
    }
    return k;
}

int command_check(const AmdimModel *m, const Options *o, Fault *f)
{
    signals_watch();
    Checking *k = checking_new(m, o, f);
    if (!k)
        return 1;
    *f = (Fault){.error = 0};
    check_all(k, f);
    const uint64_t pictures = k->pictures, faults = k->faults;
    checking_free(k);
    if (signals_received()) {
        fprintf(stderr, "stopped by a signal\n");
        return signals_exit_code();
    }
    printf("%llu pictures read, %llu wrong\n", (unsigned long long)pictures, (unsigned long long)faults);
    return faults == 0 || fault(f, "%llu thing%s wrong with %s, listed on standard output",
                                (unsigned long long)faults, faults == 1 ? " is" : "s are", o->data)
               ? 0
               : 1;
}
