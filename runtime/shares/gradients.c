/* gradients.c: weights' gradients of all shares become one, and the weights move.
 *
 * Tensors lie behind each other in the block of parameters. It is cut into buckets of whole tensors, and each
 * bucket into a slice a process. When all its gradients are there, every process sends each slice's
 * contributions to its process, which adds them in the order of the shares, moves these weights, by moments
 * that it alone holds, and sends them to all: the bytes of a ring's allreduce, and moments are held once
 * (Rajbhandari et al. 2020, ZeRO's first stage). All of that goes on behind the backward pass. What is added
 * and moved is one number at a time, so no bit depends on how the block is cut.
 *
 * A process alone needs no slices, and adds and moves at once. */
#include "shares_internal.h"
#include <stdlib.h>
#include <string.h>

enum { BUCKET = 1 << 18 };    /* floats from which on a bucket is full */
enum { AT_ONCE = 3 };         /* buckets on their way; more wait until one of them has come */
enum { SUM_BLOCK = 1 << 14 }; /* floats that a thread adds up at a time */

typedef enum { BUCKET_FILLS, BUCKET_GOES, BUCKET_COMES, BUCKET_DONE } BucketState;

typedef struct {
    size_t begin, end; /* in the block of parameters */
    size_t slice;      /* floats of a process: the last ones may be fewer */
    size_t own;        /* where this process's moments of it begin */
    int tensors, missing;
    BucketState state;
    int room;     /* of Gradients.room, while it is on its way */
    void *handle; /* of the wire */
} Bucket;

/* Memory of a bucket on its way. */
typedef struct {
    bool taken;
    float *give; /* (process, own share, slice) */
    float *each; /* (share, slice) */
    float *sum;  /* (slice): the sum, then the weights; */
    float *all;  /* (process, slice): the weights */
} Room;

struct Gradients {
    Company *company;
    Optimizer *optimizer; /* NULL: whole gradients are for the front */
    int buckets;
    Bucket *bucket;
    int *bucket_of; /* (tensors) */
    size_t largest; /* slice */
    Room room[AT_ONCE];
    int *going; /* (buckets) on their way, the first of them first */
    int first, last;
    const Bucket *gathered[2]; /* by kind of moments: whose are in room[kind].all */
};

/* ---- buckets ---- */

/* Where the next tensor begins: a tensor is padded with zeros up to there. */
static size_t past(const AmdimTensor *t)
{
    enum { ALIGNMENT = 16 };
    return t->offset + (t->count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void end_bucket(Gradients *g, size_t *own)
{
    Bucket *b = &g->bucket[g->buckets - 1];
    const size_t processes = (size_t)g->company->processes;
    b->slice = (b->end - b->begin + processes - 1) / processes;
    b->own = *own;
    *own += b->slice;
    if (b->slice > g->largest)
        g->largest = b->slice;
}

/* Returns the floats of moments of one kind. */
static size_t cut_buckets(Gradients *g)
{
    const AmdimModel *m = g->company->model;
    size_t own = 0;
    for (int i = 0; i < m->tensors && m->tensor[i].trained; i++) {
        const AmdimTensor *t = &m->tensor[i];
        const Bucket *open = g->buckets > 0 ? &g->bucket[g->buckets - 1] : NULL;
        if (open == NULL || g->optimizer == NULL || open->end - open->begin >= BUCKET) {
            if (open != NULL)
                end_bucket(g, &own);
            g->bucket[g->buckets++] = (Bucket){.begin = t->offset};
        }
        Bucket *b = &g->bucket[g->buckets - 1];
        g->bucket_of[i] = g->buckets - 1;
        b->end = past(t);
        b->tensors++;
    }
    if (g->buckets > 0)
        end_bucket(g, &own);
    return own;
}

Gradients *gradients_new(Company *c, Optimizer *o, Fault *f)
{
    const size_t tensors = (size_t)c->model->tensors;
    Gradients *g = allocate_zero(sizeof *g, "the gradients", f);
    if (g == NULL)
        return NULL;
    g->company = c;
    g->optimizer = o;
    g->bucket = allocate_zero(tensors * sizeof *g->bucket, "the gradients", f);
    g->bucket_of = allocate_zero(tensors * sizeof *g->bucket_of, "the gradients", f);
    g->going = allocate_zero(tensors * sizeof *g->going, "the gradients", f);
    if (g->bucket == NULL || g->bucket_of == NULL || g->going == NULL) {
        gradients_free(g);
        return NULL;
    }
    const size_t own = cut_buckets(g);
    for (int i = 0; i < g->buckets; i++) {
        g->bucket[i].missing = g->bucket[i].tensors;
        g->bucket[i].room = -1;
    }
    if (o != NULL)
        o->floats = own;
    return g;
}

static void room_free(Room *r)
{
    if (r->each != r->give)
        free(r->each);
    free(r->give);
    free(r->sum);
    free(r->all);
    *r = (Room){0};
}

void gradients_free(Gradients *g)
{
    if (g == NULL)
        return;
    for (int i = 0; i < AT_ONCE; i++)
        room_free(&g->room[i]);
    free(g->bucket);
    free(g->bucket_of);
    free(g->going);
    free(g);
}

/* ---- adding up ---- */

typedef struct {
    const Gradients *gradients;
    const Bucket *bucket;
    const Room *room;
    size_t begin, count; /* of the block of parameters: this process's slice */
} Sum;

/* Contributions in the order of the shares, then the update. */
static void sum_part(void *job, int part, int worker)
{
    (void)worker;
    const Sum *s = job;
    const size_t first = (size_t)part * SUM_BLOCK,
                 last = first + SUM_BLOCK < s->count ? first + SUM_BLOCK : s->count;
    const Company *c = s->gradients->company;
    float *sum = s->room->sum;
    memcpy(sum + first, s->room->each + first, (last - first) * sizeof *sum);
    for (int k = 1; k < c->model->shares; k++) {
        const float *from = s->room->each + (size_t)k * s->bucket->slice;
        for (size_t i = first; i < last; i++)
            sum[i] += from[i];
    }
    if (s->gradients->optimizer != NULL)
        optimizer_move(s->gradients->optimizer, last - first, c->front->params + s->begin + first,
                       sum + first, s->bucket->own + first);
}

/* This process's. */
static Sum slice_of(const Gradients *g, const Bucket *b)
{
    const size_t begin = b->begin + (size_t)g->company->process * b->slice;
    return (Sum){.gradients = g,
                 .bucket = b,
                 .room = b->room < 0 ? NULL : &g->room[b->room],
                 .begin = begin < b->end ? begin : b->end,
                 .count = begin >= b->end              ? 0
                          : begin + b->slice <= b->end ? b->slice
                                                       : b->end - begin};
}

static void sum_up(Gradients *g, const Bucket *b)
{
    Sum s = slice_of(g, b);
    if (s.count > 0)
        amdim_parallel(g->company->front->pool, sum_part, &s, (int)((s.count + SUM_BLOCK - 1) / SUM_BLOCK));
}

/* ---- on their way ---- */

static void go(Gradients *g, Bucket *b)
{
    const Company *c = g->company;
    Room *r = &g->room[b->room];
    b->state = BUCKET_GOES;
    if (c->wire != NULL)
        b->handle = c->wire->exchange_begin(r->give, r->each, (size_t)c->count * b->slice * sizeof(float));
}

/* The slices are added up: they go to all. */
static void come(Gradients *g, Bucket *b)
{
    const Company *c = g->company;
    Room *r = &g->room[b->room];
    sum_up(g, b);
    b->state = BUCKET_COMES;
    if (c->wire == NULL)
        return;
    const Sum s = slice_of(g, b);
    if (g->optimizer != NULL)
        memcpy(r->sum, c->front->params + s.begin, s.count * sizeof(float));
    b->handle = c->wire->gather_begin(r->sum, r->all, b->slice * sizeof(float));
}

static void done(Gradients *g, Bucket *b)
{
    const Company *c = g->company;
    Room *r = &g->room[b->room];
    const float *whole = c->wire != NULL ? r->all : r->sum;
    if (g->optimizer == NULL)
        c->front->take(c->front, (int)(b - g->bucket), whole);
    else if (c->wire != NULL)
        memcpy(c->front->params + b->begin, whole, (b->end - b->begin) * sizeof(float));
    b->state = BUCKET_DONE;
    b->room = -1;
    r->taken = false;
}

static bool has_arrived(const Company *c, const Bucket *b, bool wait)
{
    if (c->wire == NULL)
        return true;
    if (wait) {
        c->wire->wait(b->handle);
        return true;
    }
    if (!c->wire->arrived(b->handle))
        return false;
    c->wire->wait(b->handle);
    return true;
}

/* Processes post their transfers in the same order, whatever has arrived when: slices come back in the order
 * in which they went. */
static void advance(Gradients *g, bool wait)
{
    const Company *c = g->company;
    for (int i = g->first; i < g->last; i++) {
        Bucket *b = &g->bucket[g->going[i]];
        if (b->state != BUCKET_GOES)
            continue;
        if (!has_arrived(c, b, wait && i == g->first))
            break;
        come(g, b);
    }
    while (g->first < g->last) {
        Bucket *b = &g->bucket[g->going[g->first]];
        if (b->state != BUCKET_COMES || !has_arrived(c, b, wait))
            break;
        done(g, b);
        g->first++;
        wait = false;
    }
}

void gradients_progress(Gradients *g)
{
    if (g->first < g->last)
        advance(g, false);
}

/* ---- taking ---- */

static int find_room(Gradients *g)
{
    for (int i = 0; i < AT_ONCE; i++)
        if (!g->room[i].taken)
            return i;
    return -1;
}

static void allocate_room(Gradients *g, Room *r)
{
    static const char what[] = "the gradients on their way";
    Company *c = g->company;
    const size_t contributions = (size_t)c->processes * (size_t)c->count * g->largest * sizeof(float);
    r->give = company_allocate(c, contributions, what);
    r->each = c->wire == NULL ? r->give : company_allocate(c, contributions, what);
    r->sum = company_allocate(c, g->largest * sizeof(float), what);
    if (c->wire != NULL)
        r->all = company_allocate(c, (size_t)c->processes * g->largest * sizeof(float), what);
}

static void take_room(Gradients *g, Bucket *b)
{
    const Company *c = g->company;
    while ((b->room = find_room(g)) < 0)
        advance(g, true);
    Room *r = &g->room[b->room];
    r->taken = true;
    g->gathered[0] = g->gathered[1] = NULL;
    if (r->give == NULL)
        allocate_room(g, r);
    /* What pads tensors and slices is zero. */
    memset(r->give, 0, (size_t)c->processes * (size_t)c->count * b->slice * sizeof(float));
}

/* A share's contribution, cut into slices. */
static void put(const Gradients *g, const Bucket *b, int share, const AmdimTensor *t, const float *gradient)
{
    const Company *c = g->company;
    const Room *r = &g->room[b->room];
    const size_t begin = t->offset - b->begin, end = begin + t->count;
    for (size_t at = begin; at < end;) {
        const size_t process = at / b->slice, next = (process + 1) * b->slice, last = next < end ? next : end;
        memcpy(r->give + (process * (size_t)c->count + (size_t)share) * b->slice + (at - process * b->slice),
               gradient + (at - begin), (last - at) * sizeof(float));
        at = last;
    }
}

void gradients_take(Gradients *g, int tensor)
{
    const Company *c = g->company;
    Bucket *b = &g->bucket[g->bucket_of[tensor]];
    if (b->room < 0)
        take_room(g, b);
    for (int i = 0; i < c->count; i++)
        put(g, b, i, &c->model->tensor[tensor], c->share[i].gradient);
    if (--b->missing > 0)
        return;
    g->going[g->last++] = g->bucket_of[tensor];
    go(g, b);
    gradients_progress(g);
}

void gradients_end(Gradients *g)
{
    while (g->first < g->last)
        advance(g, true);
    g->first = g->last = 0;
    for (int i = 0; i < g->buckets; i++) {
        g->bucket[i].missing = g->bucket[i].tensors;
        g->bucket[i].state = BUCKET_FILLS;
    }
}

/* ---- moments ---- */

/* No gradient is on its way, so the rooms for weights are free. What was gathered last stays there: a
 * tensor's kinds, and the tensors of a bucket, are asked for one after the other. */
const float *gradients_moments(Gradients *g, int kind, int tensor)
{
    const Company *c = g->company;
    const Bucket *b = &g->bucket[g->bucket_of[tensor]];
    const size_t at = c->model->tensor[tensor].offset - b->begin;
    const float *own = g->optimizer->moments + (size_t)kind * g->optimizer->floats + b->own;
    if (c->wire == NULL)
        return own + at;
    Room *r = &g->room[kind];
    if (r->give == NULL)
        allocate_room(g, r);
    if (g->gathered[kind] != b) {
        c->wire->gather(own, r->all, b->slice * sizeof *own);
        g->gathered[kind] = b;
    }
    return r->all + at;
}

void gradients_keep(Gradients *g, const Optimizer *whole)
{
    const Optimizer *o = g->optimizer;
    for (int kind = 0; kind < optimizer_moments(o->model); kind++)
        for (int i = 0; i < g->buckets; i++) {
            const Sum s = slice_of(g, &g->bucket[i]);
            memcpy(o->moments + (size_t)kind * o->floats + g->bucket[i].own,
                   whole->moments + (size_t)kind * whole->floats + s.begin, s.count * sizeof(float));
        }
}
