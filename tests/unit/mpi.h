/* mpi.h: programs of several ranks, run as several processes by a test that has begun its scratch folder
 * (samples.h). */
#ifndef MPI_H
#define MPI_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether programs of several ranks can be compiled and run here. $AMDIMC_MPICC and $MPIRUN name another MPI.
 */
bool mpi_is_installed(void);
/* Skips the test, saying so, where they cannot; `make setup-mpi` installs what it takes. */
void mpi_wanted(void);
/* A command to put before a program's, which starts it as so many processes, on however few processors and
 * as whatever user: for shell(), too. */
const char *mpi_launch(int processes);

typedef struct {
    pid_t launcher;
    char mark[64]; /* in the environment of its processes */
    char said[512];
    double begun;
} MpiRun;

typedef struct {
    int code;       /* the launcher's exit status; 128 + the signal that ended it */
    bool hung;      /* it did not end in time, and was killed with all its processes */
    double seconds; /* from its start */
    char *said;     /* what all of them printed, by malloc */
} MpiEnd;

/* Starts `processes` of them in the background. */
MpiRun mpi_start(int processes, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The process of that rank, as soon as it is there; 0 where it is not within half a minute. */
pid_t mpi_process(const MpiRun *r, int rank);
/* Waits for the end of all, at most so long. */
MpiEnd mpi_wait(MpiRun *r, double seconds);
/* The processes that are still there, but for the launcher. */
int mpi_left(const MpiRun *r);

#endif
