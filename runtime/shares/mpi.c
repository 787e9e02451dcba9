/* mpi.c: AmdimWire by MPI: the one file that knows of it. It is compiled with a program of several shares
 * (AMDIM_MPI), not into the runtime's library, so that nothing of MPI is in others.
 *
 * Collectives of MPI match by the order in which a communicator's processes call them. Meetings of shares,
 * slices of gradients on their way and weights on theirs are three orders, hence three communicators. All
 * calls come from one thread at a time (MPI_THREAD_SERIALIZED). No reduction is MPI's: the order of its sums
 * is nobody's promise. */
#include "amdim.h"

#ifdef AMDIM_MPI
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static MPI_Comm meetings, slices, weights;
static long eager; /* tries before the first nap */

/* What MPI says of an error goes to stderr, and all processes end. */
static int bytes_of(size_t bytes)
{
    if (bytes > INT_MAX) {
        fprintf(stderr, "error: %zu bytes are more than MPI sends at a time\n", bytes);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    return (int)bytes;
}

/* In naps after a while, so that a process which waits for another leaves it the processor: MPI's own waiting
 * does not. */
static void wait_for(MPI_Request *request)
{
    enum { NAP = 20000 }; /* nanoseconds */
    int there = 0;
    for (long tries = 0; !there; tries++) {
        MPI_Test(request, &there, MPI_STATUS_IGNORE);
        if (!there && tries > eager)
            nanosleep(&(struct timespec){.tv_nsec = NAP}, NULL);
    }
}

/* Where processes outnumber processors, one that waits is in another's way at once. */
static void settle_eagerness(void)
{
    enum { HAS_ITS_OWN = 20000, SHARES_ONE = 50 };
    MPI_Comm machine;
    int here;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    MPI_Comm_size(machine, &here);
    MPI_Comm_free(&machine);
    eager = here > sysconf(_SC_NPROCESSORS_ONLN) ? SHARES_ONE : HAS_ITS_OWN;
}

static bool mpi_join(int *process, int *all)
{
    int provided;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    if (provided < MPI_THREAD_SERIALIZED) {
        fprintf(stderr, "error: this MPI allows calls from one thread only\n");
        return false;
    }
    MPI_Comm_rank(MPI_COMM_WORLD, process);
    MPI_Comm_size(MPI_COMM_WORLD, all);
    MPI_Comm_dup(MPI_COMM_WORLD, &meetings);
    MPI_Comm_dup(MPI_COMM_WORLD, &slices);
    MPI_Comm_dup(MPI_COMM_WORLD, &weights);
    settle_eagerness();
    return true;
}

static void mpi_gather(const void *give, void *get, size_t bytes)
{
    MPI_Request request;
    const int count = bytes_of(bytes);
    MPI_Iallgather(give, count, MPI_BYTE, get, count, MPI_BYTE, meetings, &request);
    wait_for(&request);
}

static void mpi_exchange(const void *give, void *get, size_t bytes)
{
    MPI_Request request;
    const int count = bytes_of(bytes);
    MPI_Ialltoall(give, count, MPI_BYTE, get, count, MPI_BYTE, meetings, &request);
    wait_for(&request);
}

static void mpi_tell(void *memory, size_t bytes)
{
    MPI_Request request;
    MPI_Ibcast(memory, bytes_of(bytes), MPI_BYTE, 0, meetings, &request);
    wait_for(&request);
}

static void *new_request(void)
{
    MPI_Request *request = malloc(sizeof *request);
    if (request == NULL) {
        fprintf(stderr, "error: out of memory for a transfer\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    return request;
}

static void *mpi_gather_begin(const void *give, void *get, size_t bytes)
{
    const int count = bytes_of(bytes);
    void *request = new_request();
    MPI_Iallgather(give, count, MPI_BYTE, get, count, MPI_BYTE, weights, request);
    return request;
}

static void *mpi_exchange_begin(const void *give, void *get, size_t bytes)
{
    const int count = bytes_of(bytes);
    void *request = new_request();
    MPI_Ialltoall(give, count, MPI_BYTE, get, count, MPI_BYTE, slices, request);
    return request;
}

static bool mpi_arrived(void *handle)
{
    int there;
    MPI_Test(handle, &there, MPI_STATUS_IGNORE);
    return there;
}

static void mpi_wait(void *handle)
{
    wait_for(handle);
    free(handle);
}

static const char *mpi_name(void)
{
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = '\0';
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\t')
            *c = ' ';
    return text;
}

static void mpi_leave(void)
{
    MPI_Request request;
    MPI_Ibarrier(meetings, &request);
    wait_for(&request);
    MPI_Finalize();
}

static void mpi_abandon(int code)
{
    MPI_Abort(MPI_COMM_WORLD, code);
}

const AmdimWire amdim_wire = {.join = mpi_join,
                              .gather = mpi_gather,
                              .exchange = mpi_exchange,
                              .tell = mpi_tell,
                              .gather_begin = mpi_gather_begin,
                              .exchange_begin = mpi_exchange_begin,
                              .arrived = mpi_arrived,
                              .wait = mpi_wait,
                              .name = mpi_name,
                              .leave = mpi_leave,
                              .abandon = mpi_abandon};
#endif
