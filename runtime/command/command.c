/* command.c: the program's main: parses, runs the command, prints the one line of a failure.
 *
 * Exit codes: 0 done; 1 failed; 2 usage; 128 + the signal after SIGINT, SIGTERM and SIGHUP. */
#include "runtime.h"
#include <string.h>

enum { DONE = 0, FAILED = 1, USAGE = 2 };

typedef struct {
    const char *name;
    int (*run)(const AmdimModel *m, const Options *o, Fault *f);
} Command;

static const Command commands[] = {
    {"train", command_train},         {"probe", command_probe}, {"encode", command_encode},
    {"replay", command_replay},       {"views", command_views}, {"bench", command_bench},
    {"selfcheck", command_selfcheck}, {"info", command_info},   {"check", command_check},
};

static int run_command(const AmdimModel *m, const Options *o, Fault *f)
{
    int code = FAILED;
    for (size_t i = 0; i < COUNT(commands); i++)
        if (strcmp(commands[i].name, o->command) == 0)
            code = commands[i].run(m, o, f);
    if (code == DONE && (fflush(stdout) != 0 || ferror(stdout))) {
        fault(f, "the standard output could not be written; is its disk full?");
        return FAILED;
    }
    return code;
}

int main(int argc, char **argv)
{
    const AmdimModel *m = &amdim_model;
    const char *program = options_program(argc, argv);
    Options options;
    Fault failure = {""};

    if (argc < 2) {
        options_usage(m, program, NULL, stderr);
        return USAGE;
    }
    int code = USAGE;
    if (options_parse(&options, m, argc, argv, &failure)) {
        if (options.help) {
            options_usage(m, program, options.command, stdout);
            return DONE;
        }
        decoding_allow(m);
        code = run_command(m, &options, &failure);
    }
    if (code == FAILED || code == USAGE)
        fprintf(stderr, "%s: error: %s\n", program, failure.text);
    return code;
}
