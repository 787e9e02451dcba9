/* company.c: the steps of the shares that a process holds, and their meetings.
 *
 * Each share runs the whole of AmdimModel.step on its own images, in its own arena; the shares of a process
 * take turns, each running on all threads until it meets. When all have come to the same meeting, what they
 * give is put together in the order of the shares, by way of the wire where there are other processes, and
 * they go on. A share alone in its process needs no thread of its own: it runs in the caller's. */
#include "shares_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *grown(float **memory, size_t *has, size_t floats)
{
    if (*has < floats) {
        free(*memory);
        *memory = company_allocate(floats * sizeof(float), "what shares tell each other");
        *has = floats;
    }
    return *memory;
}

/* ---- what shares give ---- */

/* From (shares, blocks, floats) to (blocks, shares, floats). */
static void blocks_first(const Company *c, const float *from, int blocks, size_t floats, float *to)
{
    const size_t shares = (size_t)c->model->shares, count = (size_t)blocks;
    for (size_t share = 0; share < shares; share++)
        for (size_t block = 0; block < count; block++)
            memcpy(to + (block * shares + share) * floats, from + (share * count + block) * floats,
                   floats * sizeof *to);
}

void company_gather(Company *c, const float *const *give, int blocks, size_t floats, float *const *get,
                    int gets)
{
    const size_t given = (size_t)blocks * floats, all = (size_t)c->model->shares * given;
    const float *mine = give[0];
    if (c->count > 1 || c->wire == NULL) {
        float *put = grown(&c->parcel.give, &c->parcel.gives, (size_t)c->count * given);
        for (int i = 0; i < c->count; i++)
            memcpy(put + (size_t)i * given, give[i], given * sizeof *put);
        mine = put;
    }
    const float *came = mine;
    if (c->wire != NULL) {
        float *room = grown(&c->parcel.get, &c->parcel.gets, all);
        c->wire->gather(mine, room, (size_t)c->count * given * sizeof(float));
        came = room;
    }
    blocks_first(c, came, blocks, floats, get[0]);
    for (int i = 1; i < gets; i++)
        memcpy(get[i], get[0], all * sizeof(float));
}

/* Share i gives (blocks, shares, floats), of which the blocks of share j go to it. On the way they lie as
 * (process that gets, its share that gets, share that gives, blocks, floats). */
static void exchange(Company *c, const float *const *give, int blocks, size_t floats, float *const *get)
{
    const size_t shares = (size_t)c->model->shares, count = (size_t)c->count, given = (size_t)blocks * floats;
    const size_t all = shares * count * given, part = count * count * given;
    float *put = grown(&c->parcel.give, &c->parcel.gives, all), *came = put;
    for (size_t to = 0; to < shares; to++)
        for (size_t i = 0; i < count; i++)
            for (size_t block = 0; block < (size_t)blocks; block++)
                memcpy(put + (to * count + i) * given + block * floats,
                       give[i] + (block * shares + to) * floats, floats * sizeof *put);
    if (c->wire != NULL) {
        came = grown(&c->parcel.get, &c->parcel.gets, all);
        c->wire->exchange(put, came, part * sizeof *put);
    }
    for (size_t from = 0; from < (size_t)c->processes; from++)
        for (size_t j = 0; j < count; j++)
            memcpy(get[j] + from * count * given, came + from * part + j * count * given,
                   count * given * sizeof *put);
}

/* ---- meetings ---- */

static void meet_gather(Company *c)
{
    for (int i = 0; i < c->count; i++) {
        c->all[i] = c->share[i].meeting->give;
        c->each[i] = c->share[i].meeting->get;
    }
    const AmdimMeeting *m = c->share[0].meeting;
    company_gather(c, c->all, m->blocks, m->floats, c->each, c->count);
}

static void meet_exchange(Company *c)
{
    for (int i = 0; i < c->count; i++) {
        c->all[i] = c->share[i].meeting->give;
        c->each[i] = c->share[i].meeting->get;
    }
    const AmdimMeeting *m = c->share[0].meeting;
    exchange(c, c->all, m->blocks, m->floats, c->each);
}

/* All embeddings of the batch, (N, d, d, R) as one process alone has them. */
static void gather_embeddings(Company *c)
{
    const AmdimModel *m = c->model;
    for (int s = 0; s < m->scales; s++) {
        const size_t image = (size_t)(m->scale[s].scale * m->scale[s].scale) * (size_t)m->embedding_dim,
                     images = (size_t)(m->batch / m->shares);
        if (c->embedding[s] == NULL)
            c->embedding[s] = company_allocate((size_t)(m->views * m->batch) * image * sizeof(float),
                                               "the embeddings of a batch");
        const size_t own = (size_t)m->views * images * image;
        float *floats =
            company_allocate((size_t)c->count * own * sizeof *floats, "the embeddings of its shares");
        for (int i = 0; i < c->count; i++) {
            c->all[i] = floats + (size_t)i * own;
            step_embedding(&c->share[i].step, s, 0, own, floats + (size_t)i * own);
        }
        company_gather(c, c->all, m->views, images * image, &c->embedding[s], 1);
        free(floats);
        c->front->embedding[s] = c->embedding[s];
    }
    c->front->narrow_embeddings = false;
}

/* All shares know the losses of the whole batch, so all processes take the same way. */
static void meet_forward(Company *c)
{
    AmdimStep *front = c->front;
    front->loss = c->share[0].step.loss;
    front->penalty = c->share[0].step.penalty;
    if (front->wants_embeddings != NULL && front->wants_embeddings(front))
        gather_embeddings(c);
    const bool goes_on = front->forward_done == NULL || front->forward_done(front);
    for (int i = 0; i < c->count; i++)
        c->share[i].goes_on = goes_on;
}

/* All of this process's shares stand there. */
static void meet(Company *c)
{
    gradients_progress(c->gradients);
    switch (c->share[0].at) {
    case AT_GATHER: meet_gather(c); break;
    case AT_EXCHANGE: meet_exchange(c); break;
    case AT_FORWARD: meet_forward(c); break;
    case AT_TAKE: gradients_take(c->gradients, c->share[0].tensor); break;
    case AT_END: break;
    }
}

/* ---- turns ---- */

enum { NOBODY = -1 };

static void pass_turn(Company *c, int to)
{
    pthread_mutex_lock(&c->lock);
    c->turn = to;
    pthread_cond_broadcast(&c->turned);
    pthread_mutex_unlock(&c->lock);
}

/* False where the company ends. */
static bool await_turn(Company *c, int whose)
{
    pthread_mutex_lock(&c->lock);
    while (c->turn != whose && !c->ending)
        pthread_cond_wait(&c->turned, &c->lock);
    const bool goes_on = !c->ending;
    pthread_mutex_unlock(&c->lock);
    return goes_on;
}

static int number_of(const Share *s)
{
    return (int)(s - s->company->share);
}

/* The share comes to a meeting, and goes on when it is over. */
static void stand(Share *s, Stand at)
{
    Company *c = s->company;
    s->at = at;
    if (c->count == 1) {
        meet(c);
        return;
    }
    pass_turn(c, NOBODY);
    await_turn(c, number_of(s));
}

static void stand_gather(AmdimStep *step, const AmdimMeeting *m)
{
    Share *s = step->company;
    s->meeting = m;
    stand(s, AT_GATHER);
}

static void stand_exchange(AmdimStep *step, const AmdimMeeting *m)
{
    Share *s = step->company;
    s->meeting = m;
    stand(s, AT_EXCHANGE);
}

static bool stand_forward(AmdimStep *step)
{
    Share *s = step->company;
    stand(s, AT_FORWARD);
    return s->goes_on;
}

static void stand_take(AmdimStep *step, int tensor, const float *gradient)
{
    Share *s = step->company;
    s->tensor = tensor;
    s->gradient = gradient;
    stand(s, AT_TAKE);
}

static void *run_share(void *argument)
{
    Share *s = argument;
    while (await_turn(s->company, number_of(s))) {
        s->company->model->step(&s->step);
        s->at = AT_END;
        pass_turn(s->company, NOBODY);
    }
    return NULL;
}

/* One turn of each, until all have ended. */
static void run_in_turns(Company *c)
{
    do {
        for (int i = 0; i < c->count; i++) {
            pass_turn(c, i);
            await_turn(c, NOBODY);
        }
        meet(c);
    } while (c->share[0].at != AT_END);
}

/* Of the whole batch's, the share's own. */
static void copy_locations(const Company *c, Share *s)
{
    const AmdimModel *m = c->model;
    const size_t share = (size_t)(m->batch / m->shares), rows = (size_t)(m->located * m->views);
    const int32_t *from = c->front->locations + (size_t)s->step.share * share;
    for (size_t row = 0; row < rows; row++)
        memcpy(s->locations + row * share, from + row * (size_t)m->batch, share * sizeof *from);
}

void company_step(Company *c)
{
    const AmdimModel *m = c->model;
    const size_t picture = (size_t)m->size * (size_t)m->size * (size_t)m->channels;
    const size_t images = (size_t)m->views * (size_t)(m->batch / m->shares);
    for (int i = 0; i < c->count; i++) {
        AmdimStep *s = &c->share[i].step;
        s->pool = c->front->pool;
        s->params = c->front->params;
        s->x = c->front->x + (size_t)i * images * picture;
        copy_locations(c, &c->share[i]);
        s->begin = i == 0 ? c->front->begin : NULL;
        s->profiler = c->front->profiler;
    }
    if (c->count == 1)
        m->step(&c->share[0].step);
    else
        run_in_turns(c);
    gradients_end(c->gradients);
}

/* ---- making a company ---- */

static bool share_new(Company *c, int i, Fault *f)
{
    const AmdimModel *m = c->model;
    Share *s = &c->share[i];
    *s = (Share){.company = c};
    s->step = (AmdimStep){.share = c->process * c->count + i,
                          .moves_running = i == 0,
                          .pair_loss = c->front->pair_loss,
                          .pair_accuracy = c->front->pair_accuracy,
                          .gather = stand_gather,
                          .exchange = stand_exchange,
                          .forward_done = stand_forward,
                          .take = stand_take,
                          .company = s};
    s->locations =
        allocate_zero((size_t)(m->located * m->views * (m->batch / m->shares)) * sizeof *s->locations,
                      "the source locations", f);
    s->step.locations = s->locations;
    s->step.embedding = allocate_zero((size_t)m->scales * sizeof *s->step.embedding, "the embeddings", f);
    /* The first share's arena is what features are encoded in, too. */
    s->step.arena = i == 0 ? c->front->arena : allocate(m->arena_bytes, "the activations", f);
    return s->locations != NULL && s->step.embedding != NULL && s->step.arena != NULL;
}

static bool start_thread(Company *c, int i, Fault *f)
{
    if (pthread_create(&c->share[i].thread, NULL, run_share, &c->share[i]) != 0)
        return fault(f, "no more threads can be started, of which each share needs one: %d", c->count);
    c->threads++;
    return true;
}

Company *company_new(const AmdimModel *m, AmdimStep *front, Fault *f)
{
    int process = 0, processes = 1;
    if (!company_join(m, &process, &processes, f))
        return NULL;
    Company *c = allocate_zero(sizeof *c, "the shares", f);
    if (c == NULL)
        return NULL;
    c->model = m;
    c->front = front;
    c->process = process;
    c->processes = processes;
    c->wire = processes > 1 ? m->wire : NULL;
    c->count = m->shares / processes;
    c->turn = NOBODY;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->turned, NULL);
    c->share = allocate_zero((size_t)c->count * sizeof *c->share, "the shares", f);
    c->all = allocate_zero((size_t)c->count * sizeof *c->all, "the shares", f);
    c->each = allocate_zero((size_t)c->count * sizeof *c->each, "the shares", f);
    c->embedding = allocate_zero((size_t)m->scales * sizeof *c->embedding, "the embeddings", f);
    bool ok = c->share != NULL && c->all != NULL && c->each != NULL && c->embedding != NULL;
    for (int i = 0; ok && i < c->count; i++)
        ok = share_new(c, i, f);
    for (int i = 0; ok && c->count > 1 && i < c->count; i++)
        ok = start_thread(c, i, f);
    ok = ok && (c->gradients = gradients_new(c, NULL, f)) != NULL;
    if (!ok) {
        company_free(c);
        return NULL;
    }
    return c;
}

bool company_optimizes(Company *c, Optimizer *o, Fault *f)
{
    gradients_free(c->gradients);
    c->gradients = gradients_new(c, o, f);
    return c->gradients != NULL;
}

static void end_threads(Company *c)
{
    pthread_mutex_lock(&c->lock);
    c->ending = true;
    pthread_cond_broadcast(&c->turned);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->threads; i++)
        pthread_join(c->share[i].thread, NULL);
}

void company_free(Company *c)
{
    if (c == NULL)
        return;
    end_threads(c);
    gradients_free(c->gradients);
    for (int i = 0; c->share != NULL && i < c->count; i++) {
        free(c->share[i].step.embedding);
        free(c->share[i].locations);
        if (i > 0)
            free(c->share[i].step.arena);
    }
    for (int s = 0; c->embedding != NULL && s < c->model->scales; s++)
        free(c->embedding[s]);
    free(c->embedding);
    free(c->share);
    free(c->all);
    free(c->each);
    free(c->parcel.give);
    free(c->parcel.get);
    pthread_cond_destroy(&c->turned);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

const float *company_moments(Company *c, int kind, int tensor)
{
    return gradients_moments(c->gradients, kind, tensor);
}

void company_keep_moments(Company *c, const Optimizer *whole)
{
    gradients_keep(c->gradients, whole);
}

/* ---- all processes ---- */

int company_process(const Company *c)
{
    return c != NULL ? c->process : 0;
}

int company_processes(const Company *c)
{
    return c != NULL ? c->processes : 1;
}

/* Buckets on their way (gradients.c), above those of a process with one share, where (3 + 1/R) are promised
 * of each. */
static size_t rooms_above(const Company *c)
{
    const AmdimModel *m = c->model;
    const double shares = m->shares, processes = c->processes,
                 rooms = c->wire != NULL ? 2 * shares / processes + 1 / processes + 1 : shares + 1;
    const size_t bucket = m->trained_floats < m->bucket ? m->trained_floats : m->bucket,
                 all = (m->trained_floats + m->bucket - 1) / m->bucket,
                 buckets = all < (size_t)m->buckets ? all : (size_t)m->buckets;
    return (size_t)((double)(buckets * bucket * sizeof(float)) * fmax(0, rooms - (3 + 1 / shares)));
}

size_t company_bytes(const Company *c)
{
    if (c == NULL || c->count == 1)
        return 0;
    const AmdimModel *m = c->model;
    const size_t more = (size_t)c->count - 1, images = (size_t)(m->views * m->batch),
                 picture = (size_t)m->size * (size_t)m->size * (size_t)m->channels,
                 share = images / (size_t)m->shares,
                 moments = (size_t)optimizer_moments(m) * m->trained_floats / (size_t)m->shares;
    const size_t floats = 2 * share * picture + moments + 3 * images * (size_t)m->embedding_dim;
    return more * (m->arena_bytes + floats * sizeof(float)) + rooms_above(c);
}

bool company_leads(const Company *c)
{
    return company_process(c) == 0;
}

unsigned company_agree(const Company *c, unsigned flags)
{
    enum { MOST = 4096 }; /* processes */
    unsigned all[MOST];
    if (company_processes(c) == 1)
        return flags;
    c->wire->gather(&flags, all, sizeof flags);
    for (int i = 0; i < c->processes; i++)
        flags |= all[i];
    return flags;
}

void company_tell(const Company *c, void *memory, size_t bytes)
{
    enum { AT_ONCE = 1 << 24 };
    if (company_processes(c) == 1)
        return;
    for (size_t at = 0; at < bytes; at += AT_ONCE)
        c->wire->tell((char *)memory + at, bytes - at < AT_ONCE ? bytes - at : AT_ONCE);
}

bool company_compare(const Company *c, const char *text, const char *what, Fault *f)
{
    enum { LONGEST = 256 };
    char own[LONGEST] = "";
    if (company_processes(c) == 1)
        return true;
    snprintf(own, sizeof own, "%s", text);
    char *all = allocate((size_t)c->processes * LONGEST, "what processes say", f);
    if (all == NULL)
        return false;
    c->wire->gather(own, all, sizeof own);
    int other = 1;
    while (other < c->processes && strcmp(all, all + (size_t)other * LONGEST) == 0)
        other++;
    const bool same = other == c->processes;
    if (!same)
        fault(f, "%s of rank %d is not that of rank 0: %s, and %s", what, other,
              all + (size_t)other * LONGEST, all);
    free(all);
    return same || company_fails(f);
}

void company_hear(const Company *c, bool has_failed, Fault *f)
{
    char own[sizeof f->text] = "";
    if (company_processes(c) == 1)
        return;
    if (has_failed)
        snprintf(own, sizeof own, "%s%.900s", company_name(), f->text);
    char *all = company_allocate((size_t)c->processes * sizeof own, "what processes say");
    c->wire->gather(own, all, sizeof own);
    const char *first = all;
    while (*first == '\0' && first < all + (size_t)(c->processes - 1) * sizeof own)
        first += sizeof own;
    fault(f, "%s", first);
    free(all);
}
