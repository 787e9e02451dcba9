/* shares_internal.h: what the files of this folder say to each other (runtime.h, "shares/"). */
#ifndef SHARES_INTERNAL_H
#define SHARES_INTERNAL_H

#include "runtime.h"
#include <pthread.h>

/* Where a share of this process stands, when it does not run. */
typedef enum { AT_GATHER, AT_EXCHANGE, AT_FORWARD, AT_TAKE, AT_END } Stand;

typedef struct {
    Company *company;
    AmdimStep step;
    pthread_t thread; /* where there are several shares */
    Stand at;
    const AmdimMeeting *meeting; /* at AT_GATHER, AT_EXCHANGE */
    int32_t *locations;          /* (located, V, S) */
    int tensor;                  /* at AT_TAKE */
    const float *gradient;
    bool goes_on; /* behind AT_FORWARD */
} Share;

/* Memory for what is sent and received, which grows to what the largest meeting needs. */
typedef struct {
    float *give, *get;
    size_t gives, gets; /* floats */
} Parcel;

typedef struct Gradients Gradients;

struct Company {
    const AmdimModel *model;
    const AmdimWire *wire; /* NULL in a process alone */
    int process, processes;
    AmdimStep *front; /* the step as its callers know it */
    int count;        /* shares of this process */
    Share *share;
    Parcel parcel;
    float **embedding; /* (scales) of the whole batch, where the front wants them */
    const float **all; /* (count) scratch: what each share gives */
    float **each;      /* and gets */
    Gradients *gradients;
    /* Shares take turns: `turn` is the one that runs, or -1. */
    pthread_mutex_t lock;
    pthread_cond_t turned;
    int turn, threads;
    bool ending;
};

/* Every share of every process gives `blocks` blocks of `floats`; each of get[0 .. gets-1] becomes (blocks,
 * shares, floats). */
void company_gather(Company *c, const float *const *give, int blocks, size_t floats, float *const *get,
                    int gets);

/* ---- join.c ---- */

/* Memory that a run cannot go on without: ends all processes where there is none. */
void *company_allocate(size_t bytes, const char *what);

/* ---- links.c ---- */

typedef struct {
    int socket, process;        /* which is at its other end */
    double heard;               /* when, by clock_seconds */
    bool has_parted, is_closed; /* it ends well; it has ended */
    size_t filled;
    unsigned char bytes[4]; /* of a message that is arriving */
} Link;
/* All processes together: process 0 gets links to all others in their order, each of the others one to
 * process 0. Where one cannot be made, there are none, and it is false in all of them. `room` is a byte for
 * each process. */
bool links_make(const AmdimWire *wire, int process, int processes, Link *link, char *room);
void links_close(Link *link, int links);

/* ---- watch.c ---- */

/* From here on, the end of another process ends this one, with a line; all processes together. A network that
 * does not allow it is worth a note. */
bool watch_begin(const AmdimWire *wire, int process, int processes, Fault *f);
void watch_part(void);          /* no longer: all have come to a good end */
void watch_fail(int exit_code); /* no longer: this process has said why it ends, and all are to */

/* ---- gradients.c ---- */

/* A program without an optimizer gives every tensor's whole gradient to the front's take. */
Gradients *gradients_new(Company *c, Optimizer *o, Fault *f);
void gradients_free(Gradients *g);
void gradients_take(Gradients *g, int tensor); /* all shares of this process have theirs ready */
void gradients_progress(Gradients *g);         /* of what is on its way */
void gradients_end(Gradients *g);              /* of the step: waits for all of it */
const float *gradients_moments(Gradients *g, int kind, int tensor);
void gradients_keep(Gradients *g, const Optimizer *whole);

#endif
