/* probe_split.c: a probe on the labelled splits of a data set: features of both, held in memory while a
 * classifier is fitted to the one and counted on the other. Nothing is kept between two probes. */
#include "runtime.h"
#include <math.h>
#include <stdlib.h>

/* A split's features and labels. */
typedef struct {
    Dataset *data;
    float *features; /* (count, dims) */
} Encoded;

static void encoded_free(Encoded *e)
{
    free(e->features);
    if (e->data)
        data_close(e->data);
    *e = (Encoded){0};
}

static Dataset *open_split(const ProbeSplits *p, Split split, Fault *f)
{
    DataRequest request = p->data;
    request.split = split;
    Dataset *d = data_request(&request, f);
    if (!d || !d->unlabelled)
        return d;
    fault(f, "%s: pictures without labels, which a probe cannot learn; put them into a folder for each class",
          request.dir);
    data_close(d);
    return NULL;
}

static bool encode_split(Encoded *e, Machine *k, const ProbeSplits *p, Split split, Fault *f)
{
    *e = (Encoded){.data = open_split(p, split, f)};
    if (!e->data)
        return false;
    if (p->say)
        data_say(e->data, split);
    e->features =
        p->pixels ? features_pixels(k, e->data, f) : features_all(k, &k->model->feature[0], e->data, f);
    return e->features != NULL;
}

static int feature_dims(const AmdimModel *m, const ProbeSplits *p)
{
    return p->pixels ? m->size * m->size * m->channels : m->feature[0].channels;
}

static ProbeRows rows_of(const Encoded *e)
{
    return (ProbeRows){.count = e->data->count, .x = e->features, .label = e->data->label};
}

static bool fit_heads(Machine *k, const ProbeSplits *p, const Encoded *train, const Encoded *test,
                      uint16_t *guess, ProbeResult *out, Fault *f)
{
    const char *const head[PROBE_HEADS] = {p->head, p->second};
    const int classes = train->data->classes;
    ProbeRows train_rows = rows_of(train), test_rows = rows_of(test);
    Confusions confusions = {.step = p->step};
    Fault why;
    bool ok = true;
    test_rows.guess = guess;
    for (int i = 0; ok && i < PROBE_HEADS && head[i]; i++) {
        ok = probe_named(head[i])(k->pool, classes, feature_dims(k->model, p), p->seed, &train_rows,
                                  &test_rows, &out[i], f);
        out[i].head = head[i];
        if (ok && guess)
            confusion_add(&confusions, head[i], classes, &test_rows);
    }
    const bool keeps = confusions.heads > 0 && (!p->may_keep || p->may_keep(p->keeper));
    if (ok && keeps && !confusions_write(&confusions, test->data, p->keep, &why))
        note("%s; the report shows no classes", why.text);
    confusions_free(&confusions);
    return ok;
}

bool probe_splits(Machine *k, const ProbeSplits *p, ProbeResult *out, Fault *f)
{
    Encoded train = {0}, test = {0};
    bool ok = encode_split(&train, k, p, SPLIT_TRAIN, f) && encode_split(&test, k, p, SPLIT_TEST, f);
    if (ok) {
        uint16_t *guess =
            p->keep ? malloc(test.data->count * sizeof *guess) : NULL; /* else they stay unknown */
        ok = fit_heads(k, p, &train, &test, guess, out, f);
        free(guess);
    }
    encoded_free(&train);
    encoded_free(&test);
    return ok;
}

void probe_describe(const ProbeResult *r, char *text, size_t size)
{
    double low, high;
    share_interval(r->accuracy, r->images, &low, &high);
    int used = snprintf(text, size, "%.1f %% (95 %% interval %.1f to %.1f %%) of %u test images",
                        100 * r->accuracy, 100 * low, 100 * high, (unsigned)r->images);
    if (!isnan(r->train_accuracy) && used > 0 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, " (training images: %.1f %%)", 100 * r->train_accuracy);
}

/* One after the other; beside them, who is taken for whom. */
static uint64_t heads_bytes(const ProbeSplits *p, int classes, int dims, int threads)
{
    const char *const head[PROBE_HEADS] = {p->head, p->second};
    uint64_t most = 0, counted = classes <= CONFUSION_CLASSES ? (uint64_t)classes * (uint64_t)classes : 0;
    for (int i = 0; i < PROBE_HEADS && head[i]; i++) {
        bool knn = probe_named(head[i]) == probe_knn;
        uint64_t bytes = knn ? knn_bytes(classes, dims, threads) : logistic_bytes(classes, dims, threads);
        most = bytes > most ? bytes : most;
    }
    return most + PROBE_HEADS * counted * sizeof(uint32_t);
}

bool probe_splits_memory(const AmdimModel *m, const ProbeSplits *p, int threads, ProbeMemory *out, Fault *f)
{
    enum { IMAGE = 64 }; /* bytes of an image's label, number and name */
    Dataset *train = open_split(p, SPLIT_TRAIN, f), *test = train ? open_split(p, SPLIT_TEST, f) : NULL;
    if (test) {
        size_t dims = (size_t)m->feature[0].channels;
        out->image = (uint64_t)dims * sizeof(float) + IMAGE;
        out->classes = train->classes;
        out->training = train->count * out->image;
        out->rest = test->count * out->image + features_bytes(m, &m->feature[0], threads) +
                    heads_bytes(p, train->classes, (int)dims, threads);
        data_close(test);
    }
    if (train)
        data_close(train);
    return test != NULL;
}
