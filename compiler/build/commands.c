/* commands.c: command lines, and running them. */
#include "build.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void words_add(Words *w, const char *word)
{
    if (w->count == w->capacity) {
        const char **old = w->word;
        w->capacity = w->capacity ? 2 * w->capacity : 32;
        w->word = ARENA_ARRAY(w->arena, const char *, w->capacity);
        if (w->count)
            memcpy(w->word, old, sizeof *old * (size_t)w->count);
    }
    w->word[w->count++] = word;
}

const char *const *words_end(Words *w)
{
    words_add(w, NULL);
    return w->word;
}

bool runs_well(const char *const *argv, const char *input)
{
    int end[2], status = -1;
    pid_t child;
    if (pipe2(end, O_CLOEXEC))
        return false;
    /* What a pipe holds at once is written before anybody reads. */
    bool good = write(end[1], input, strlen(input)) == (ssize_t)strlen(input);
    close(end[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, end[0], STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    good = good && !posix_spawnp(&child, argv[0], &actions, NULL, (char *const *)argv, environ) &&
           waitpid(child, &status, 0) == child;
    posix_spawn_file_actions_destroy(&actions);
    close(end[0]);
    return good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool run_compiler(const char *const *argv, const char *hint)
{
    pid_t child;
    int status, error = posix_spawnp(&child, argv[0], NULL, NULL, (char *const *)argv, environ);
    if (error)
        return build_failed(argv[0], error == ENOENT
                                         ? "not found; install clang, or name one with --cc or $AMDIMC_CC"
                                         : strerror(error));
    if (waitpid(child, &status, 0) < 0)
        return build_failed(argv[0], strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    fprintf(stderr, "amdimc: error: the back end failed (%s); what it printed stands above%s\n", argv[0],
            hint);
    return false;
}
