/* loader.c: batches prepared by threads of the loader's own while the step runs.
 *
 * There are two buffers, one for the step under way and one for the step after it. Threads take the images of
 * a batch one by one; where an image goes and what is drawn for it depend on its place alone, so the views
 * are the same for any number of threads. A thread that finds no buffer to fill sleeps until the caller moves
 * on. */
#include "runtime.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { BUFFERS = 2 };

typedef struct {
    float *views; /* (V, B, H, W, C) */
    int finished; /* images of the batch, well or not */
    int failed;   /* the first place whose picture could not be read, or B */
    Fault fault;  /* its fault */
} Batch;

typedef struct {
    Loader *loader;
    Workspace *workspace;
    pthread_t thread;
} Worker;

struct Loader {
    const AmdimModel *model;
    const Dataset *data;
    Held held;
    uint64_t seed, per_epoch; /* steps */
    Batch batch[BUFFERS];

    pthread_mutex_t lock; /* over all below, and the batches' counts */
    pthread_cond_t room, ready;
    bool stopping;
    uint64_t wanted; /* the step that loader_next gives next */
    bool lent;       /* the caller uses the step before it */
    uint64_t dealt;  /* the step whose images are being dealt out */
    int place;       /* and the next of them */
    uint32_t *order; /* of the images in the epoch of `dealt` */

    int threads; /* running */
    Worker *worker;
};

typedef struct {
    uint64_t step;
    int place;
    uint32_t image;
} Task;

/* ---- preparing ---- */

/* With the lock held. The buffer lent to the caller is not to be touched. */
static bool has_room(const Loader *l)
{
    return l->dealt - l->wanted < (l->lent ? BUFFERS - 1 : BUFFERS);
}

/* With the lock held and room. */
static Task deal(Loader *l)
{
    uint64_t batch = (uint64_t)l->model->batch, first = l->dealt % l->per_epoch * batch;
    Task task = {l->dealt, l->place, l->order[first + (uint64_t)l->place]};
    if (++l->place == l->held.first + l->held.count) {
        l->place = l->held.first;
        l->dealt++;
        if (l->dealt % l->per_epoch == 0)
            random_order(l->seed, l->dealt / l->per_epoch, l->order, l->data->count);
    }
    return task;
}

static bool prepare(Worker *worker, Task task, Fault *f)
{
    const Loader *l = worker->loader;
    const AmdimModel *m = l->model;
    const size_t floats = (size_t)m->size * (size_t)m->size * (size_t)m->channels;
    float *out[MAX_VIEWS];
    for (int v = 0; v < m->views; v++) {
        out[v] = l->batch[task.step % BUFFERS].views + held_row(m, &l->held, v, task.place) * floats;
    }
    const ViewAddress at = {l->seed, task.step / l->per_epoch, task.image, 0};
    return augment_read(m, worker->workspace, l->data, &at, m->views, out, f);
}

/* With the lock held. */
static void finish(Loader *l, Task task, const Fault *failure)
{
    Batch *b = &l->batch[task.step % BUFFERS];
    if (failure && task.place < b->failed) {
        b->failed = task.place;
        b->fault = *failure;
    }
    if (++b->finished == l->held.count)
        pthread_cond_signal(&l->ready);
}

static void *work(void *argument)
{
    Worker *worker = argument;
    Loader *l = worker->loader;
    pthread_mutex_lock(&l->lock);
    while (true) {
        while (!l->stopping && !has_room(l))
            pthread_cond_wait(&l->room, &l->lock);
        if (l->stopping)
            break;
        Task task = deal(l);
        pthread_mutex_unlock(&l->lock);
        Fault failure;
        bool prepared = prepare(worker, task, &failure);
        pthread_mutex_lock(&l->lock);
        finish(l, task, prepared ? NULL : &failure);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- starting and stopping ---- */

static bool start_thread(Loader *l, Fault *f)
{
    Worker *worker = &l->worker[l->threads];
    *worker = (Worker){.loader = l, .workspace = workspace_new(l->model, f)};
    if (!worker->workspace)
        return false;
    if (pthread_create(&worker->thread, NULL, work, worker) != 0) {
        workspace_free(worker->workspace);
        return fault(f, "no more threads can be started; ask for fewer with --threads");
    }
    l->threads++;
    return true;
}

/* Signals are for the thread that called: one taken here would interrupt a read. */
static bool start_threads(Loader *l, int threads, Fault *f)
{
    l->worker = allocate((size_t)threads * sizeof *l->worker, "the preparing threads", f);
    if (!l->worker)
        return false;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    while (started && l->threads < threads)
        started = start_thread(l, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static bool make_buffers(Loader *l, Fault *f)
{
    const AmdimModel *m = l->model;
    size_t rows = (size_t)m->views * (size_t)l->held.count;
    size_t bytes = rows * (size_t)m->size * (size_t)m->size * (size_t)m->channels * sizeof(float);
    for (int i = 0; i < BUFFERS; i++) {
        l->batch[i].failed = m->batch;
        l->batch[i].views = allocate(bytes, "a batch of pictures", f);
        if (!l->batch[i].views)
            return false;
    }
    l->order = allocate((size_t)l->data->count * sizeof *l->order, "the order of the pictures", f);
    return l->order != NULL;
}

Loader *loader_new(const AmdimModel *m, const Held *held, const Dataset *d, uint64_t seed, uint64_t step,
                   int threads, Fault *f)
{
    if (d->count < (uint32_t)m->batch) {
        fault(f,
              "the training split has %u pictures%s%s%s, fewer than a batch of %d; add pictures, raise "
              "--limit, or make the spec's batch smaller",
              d->count, d->remark ? " (" : "", d->remark ? d->remark : "", d->remark ? ")" : "", m->batch);
        return NULL;
    }
    Loader *l = allocate_zero(sizeof *l, "loading pictures", f);
    if (!l)
        return NULL;
    l->model = m;
    l->data = d;
    l->seed = seed;
    l->per_epoch = d->count / (uint32_t)m->batch;
    l->held = held ? *held : (Held){0, m->batch, m->batch};
    l->place = l->held.first;
    l->wanted = l->dealt = step;
    decoding_leave(d->bytes + d->count * sizeof *l->order);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->room, NULL);
    pthread_condattr_t steady;
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&l->ready, &steady);
    pthread_condattr_destroy(&steady);
    bool started = make_buffers(l, f);
    if (started) {
        random_order(seed, step / l->per_epoch, l->order, d->count);
        started = start_threads(l, threads, f);
    }
    if (!started) {
        loader_free(l);
        return NULL;
    }
    return l;
}

static void stop_threads(Loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_broadcast(&l->room);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->threads; i++) {
        pthread_join(l->worker[i].thread, NULL);
        workspace_free(l->worker[i].workspace);
    }
    l->threads = 0;
}

float *loader_end(Loader *l)
{
    stop_threads(l);
    return l->batch[0].views;
}

void loader_free(Loader *l)
{
    if (!l)
        return;
    stop_threads(l);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->room);
    pthread_mutex_destroy(&l->lock);
    for (int i = 0; i < BUFFERS; i++)
        free(l->batch[i].views);
    free(l->order);
    free(l->worker);
    free(l);
}

/* ---- handing out ---- */

/* With the lock held: the caller is done with the buffer it was lent, which takes the next batch but one. */
static void take_back(Loader *l)
{
    if (!l->lent)
        return;
    l->batch[(l->wanted - 1) % BUFFERS].finished = 0;
    l->lent = false;
    pthread_cond_broadcast(&l->room);
}

/* With the lock held: false where a signal asks to end before the batch is ready. A signal wakes nobody who
 * waits, hence the look now and then. */
static bool wait_until_ready(Loader *l, const Batch *b)
{
    enum { LOOK = 50 * 1000 * 1000 }; /* nanoseconds */
    while (b->finished < l->held.count && !signals_received()) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&l->ready, &l->lock, &until);
    }
    return b->finished == l->held.count;
}

float *loader_next(Loader *l, Fault *f)
{
    pthread_mutex_lock(&l->lock);
    take_back(l);
    Batch *b = &l->batch[l->wanted % BUFFERS];
    bool ready = wait_until_ready(l, b), prepared = ready && b->failed == l->model->batch;
    if (prepared) {
        l->lent = true;
        l->wanted++;
    } else if (ready) {
        *f = b->fault;
    } else {
        fault(f, "stopped by a signal");
    }
    pthread_mutex_unlock(&l->lock);
    return prepared ? b->views : NULL;
}
