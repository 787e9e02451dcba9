/* gradients.c: weights' gradients of all shares become one, and the weights move.
 *
 * The block of parameters is cut into buckets, wherever tensors begin and end, and each bucket into a slice a
 * process. When all of a bucket's gradients are there, every process sends each slice's contributions to its
 * process, which adds them in the order of the shares, moves these weights, by moments that it alone holds,
 * and sends them to all: the bytes of a ring's allreduce, and moments are held once (Rajbhandari et al. 2020,
 * ZeRO's first stage). All of that goes on behind the backward pass. What is added and moved is one number at
 * a time, so no bit depends on how the block is cut.
 *
 * Without an optimizer a bucket is a tensor, whose whole gradient goes to the front. */
#include "shares_internal.h"
#include <stdlib.h>
#include <string.h>

enum { SUM_BLOCK = 1 << 14 }; /* floats that a thread adds up at a time */

typedef enum { BUCKET_FILLS, BUCKET_GOES, BUCKET_COMES, BUCKET_DONE } BucketState;

typedef struct {
    size_t begin, end; /* in the block of parameters */
    size_t slice;      /* floats of a process: the last ones may be fewer */
    size_t own;        /* where this process's moments of it begin */
    size_t floats;     /* of tensors: what pads them is nobody's */
    size_t missing;    /* of these */
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
    int *first_of;  /* (tensors): the first bucket that holds some of it */
    size_t largest; /* slice */
    int rooms;      /* that are used */
    Room *room;     /* (at most a bucket, and AmdimModel.buckets) */
    int *going;     /* (buckets) on their way, the first of them first */
    int first, last;
    float *moments; /* of the largest tensor; NULL until a checkpoint asks for some */
};

/* ---- buckets ---- */

static size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Where a bucket that begins there ends. */
static size_t end_of(const Gradients *g, size_t begin, int tensor)
{
    const AmdimModel *m = g->company->model;
    if (g->optimizer != NULL)
        return at_most(begin + m->bucket, m->trained_floats);
    return tensor + 1 < m->tensors && m->tensor[tensor + 1].trained ? m->tensor[tensor + 1].offset
                                                                    : m->trained_floats;
}

/* Of tensors that lie one behind the other from the first on. Returns the floats of moments of one kind. */
static size_t cut_buckets(Gradients *g)
{
    const AmdimModel *m = g->company->model;
    const size_t processes = (size_t)g->company->processes;
    size_t own = 0;
    for (size_t begin = 0; begin < m->trained_floats; begin = g->bucket[g->buckets - 1].end) {
        Bucket *b = &g->bucket[g->buckets];
        *b = (Bucket){.begin = begin, .end = end_of(g, begin, g->buckets), .room = -1};
        b->slice = (b->end - b->begin + processes - 1) / processes;
        b->own = own;
        own += b->slice;
        g->largest = b->slice > g->largest ? b->slice : g->largest;
        g->buckets++;
    }
    for (int i = 0, bucket = 0; i < m->tensors && m->tensor[i].trained; i++) {
        const AmdimTensor *t = &m->tensor[i];
        while (g->bucket[bucket].end <= t->offset)
            bucket++;
        g->first_of[i] = bucket;
        for (int k = bucket; k < g->buckets && g->bucket[k].begin < t->offset + t->count; k++) {
            const size_t first = g->bucket[k].begin > t->offset ? g->bucket[k].begin : t->offset;
            g->bucket[k].floats += at_most(g->bucket[k].end, t->offset + t->count) - first;
        }
    }
    for (int i = 0; i < g->buckets; i++)
        g->bucket[i].missing = g->bucket[i].floats;
    return own;
}

Gradients *gradients_new(Company *c, Optimizer *o, Fault *f)
{
    const AmdimModel *m = c->model;
    const size_t tensors = (size_t)m->tensors, most = tensors + m->trained_floats / m->bucket + 1;
    Gradients *g = allocate_zero(sizeof *g, "the gradients", f);
    if (g == NULL)
        return NULL;
    g->company = c;
    g->optimizer = o;
    g->bucket = allocate_zero(most * sizeof *g->bucket, "the gradients", f);
    g->first_of = allocate_zero(tensors * sizeof *g->first_of, "the gradients", f);
    g->going = allocate_zero(most * sizeof *g->going, "the gradients", f);
    g->rooms = m->buckets;
    g->room = allocate_zero((most + (size_t)m->buckets) * sizeof *g->room, "the gradients", f);
    if (g->bucket == NULL || g->first_of == NULL || g->going == NULL || g->room == NULL) {
        gradients_free(g);
        return NULL;
    }
    const size_t own = cut_buckets(g);
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
    for (int i = 0; g->room != NULL && i < g->rooms; i++)
        room_free(&g->room[i]);
    free(g->room);
    free(g->bucket);
    free(g->first_of);
    free(g->moments);
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

/* One that is free, once one of those on their way has come. */
static int find_room(Gradients *g)
{
    for (;;) {
        for (int i = 0; i < g->rooms; i++)
            if (!g->room[i].taken)
                return i;
        if (g->first == g->last)
            return g->rooms++; /* all fill: more than were planned for */
        advance(g, true);
    }
}

static void allocate_room(Gradients *g, Room *r)
{
    static const char what[] = "the gradients on their way";
    Company *c = g->company;
    const size_t contributions = (size_t)c->processes * (size_t)c->count * g->largest * sizeof(float);
    r->give = company_allocate(contributions, what);
    r->each = c->wire == NULL ? r->give : company_allocate(contributions, what);
    r->sum = company_allocate(g->largest * sizeof(float), what);
    if (c->wire != NULL)
        r->all = company_allocate((size_t)c->processes * g->largest * sizeof(float), what);
}

/* Of a share's contribution, cut into slices: where number `at` of the block of parameters goes. */
static float *place(const Gradients *g, const Bucket *b, int share, size_t at)
{
    const size_t process = (at - b->begin) / b->slice;
    return g->room[b->room].give + (process * (size_t)g->company->count + (size_t)share) * b->slice +
           (at - b->begin - process * b->slice);
}

/* What pads tensors and slices is zero. */
static void clear(const Gradients *g, const Bucket *b, int share, size_t begin, size_t end)
{
    for (size_t at = begin; at < end; at++)
        *place(g, b, share, at) = 0;
}

static void take_room(Gradients *g, Bucket *b)
{
    const Company *c = g->company;
    b->room = find_room(g);
    Room *r = &g->room[b->room];
    r->taken = true;
    if (r->give == NULL)
        allocate_room(g, r);
    for (int i = 0; i < c->count; i++)
        clear(g, b, i, b->end, b->begin + (size_t)c->processes * b->slice);
}

/* Where the next tensor begins. */
static size_t past(const AmdimTensor *t)
{
    enum { ALIGNMENT = 16 };
    return t->offset + (t->count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* What of a share's gradient of t lies in the bucket; returns how much it is. */
static size_t put(const Gradients *g, const Bucket *b, int share, const AmdimTensor *t, const float *gradient)
{
    const size_t begin = b->begin > t->offset ? b->begin : t->offset,
                 end = at_most(b->end, t->offset + t->count);
    for (size_t at = begin; at < end;) {
        const size_t last = at_most(at + b->slice - (at - b->begin) % b->slice, end);
        memcpy(place(g, b, share, at), gradient + (at - t->offset), (last - at) * sizeof(float));
        at = last;
    }
    if (end == t->offset + t->count)
        clear(g, b, share, end, at_most(past(t), b->end));
    return end - begin;
}

static void fill(Gradients *g, int bucket, const AmdimTensor *t)
{
    const Company *c = g->company;
    Bucket *b = &g->bucket[bucket];
    size_t came = 0;
    if (b->room < 0)
        take_room(g, b);
    for (int i = 0; i < c->count; i++)
        came = put(g, b, i, t, c->share[i].gradient);
    b->missing -= came;
    if (b->missing > 0)
        return;
    g->going[g->last++] = bucket;
    go(g, b);
    gradients_progress(g);
}

void gradients_take(Gradients *g, int tensor)
{
    const AmdimTensor *t = &g->company->model->tensor[tensor];
    for (int k = g->first_of[tensor]; k < g->buckets && g->bucket[k].begin < t->offset + t->count; k++)
        fill(g, k, t);
}

void gradients_end(Gradients *g)
{
    while (g->first < g->last)
        advance(g, true);
    g->first = g->last = 0;
    for (int i = 0; i < g->buckets; i++) {
        g->bucket[i].missing = g->bucket[i].floats;
        g->bucket[i].state = BUCKET_FILLS;
    }
}

/* ---- moments ---- */

static size_t largest_tensor(const AmdimModel *m)
{
    size_t largest = 0;
    for (int i = 0; i < m->tensors; i++)
        largest = m->tensor[i].count > largest ? m->tensor[i].count : largest;
    return largest;
}

/* No gradient is on its way, so that the rooms are free. */
const float *gradients_moments(Gradients *g, int kind, int tensor)
{
    Company *c = g->company;
    const AmdimTensor *t = &c->model->tensor[tensor];
    const float *own = g->optimizer->moments + (size_t)kind * g->optimizer->floats;
    if (c->wire == NULL)
        return own + t->offset;
    if (g->moments == NULL)
        g->moments = company_allocate(largest_tensor(c->model) * sizeof(float), "a tensor's moments");
    Room *r = &g->room[0];
    if (r->give == NULL)
        allocate_room(g, r);
    for (int k = g->first_of[tensor]; k < g->buckets && g->bucket[k].begin < t->offset + t->count; k++) {
        const Bucket *b = &g->bucket[k];
        const size_t begin = b->begin > t->offset ? b->begin : t->offset,
                     end = at_most(b->end, t->offset + t->count);
        c->wire->gather(own + b->own, r->all, b->slice * sizeof *own);
        memcpy(g->moments + (begin - t->offset), r->all + (begin - b->begin), (end - begin) * sizeof *own);
    }
    return g->moments;
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
