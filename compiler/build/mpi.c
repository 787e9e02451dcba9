/* mpi.c: what a program of several ranks is compiled and linked with, as MPI's own compiler tells it. */
#include "build.h"
#include <stdlib.h>
#include <string.h>

/* Open MPI's mpicc and MPICH's both print the command that they would run. */
static const char *shown_command(Arena *a, const char *mpicc)
{
    const char *const argv[] = {mpicc, "-show", NULL};
    return output_of(a, argv);
}

static bool begins(const char *word, const char *with)
{
    return !strncmp(word, with, strlen(with));
}

static bool is_for_us(const char *word)
{
    return begins(word, "-I") || begins(word, "-L") || begins(word, "-l") || begins(word, "-Wl,") ||
           begins(word, "-D") || !strcmp(word, "-pthread");
}

bool mpi_add(Words *w, const Build *b)
{
    const char *named = getenv("AMDIMC_MPICC"), *mpicc = named && *named ? named : "mpicc";
    const char *text = shown_command(w->arena, mpicc);
    if (!text)
        return build_failed(
            mpicc, "cannot be run, and target.ranks needs MPI: `make setup-mpi` installs Debian's Open "
                   "MPI; another MPI's mpicc is named by $AMDIMC_MPICC");
    words_add(w, "-DAMDIM_MPI");
    words_add(w, arena_printf(w->arena, "-I%s", b->runtime));
    words_add(w, arena_printf(w->arena, "%s/shares/mpi.c", b->runtime));
    for (const char *at = text; *at;) {
        const size_t length = strcspn(at, " \n");
        const char *word = arena_copy(w->arena, at, length);
        if (is_for_us(word))
            words_add(w, word);
        at += length + strspn(at + length, " \n");
    }
    return true;
}
