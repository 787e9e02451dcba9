/* commands.h: the program's commands, run inside a test. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "runtime.h"

typedef int RunCommand(const AmdimModel *m, const Options *o, Fault *f);
/* The exit code, with what it prints on stdout and stderr thrown away. */
int run_quietly(RunCommand *command, const AmdimModel *m, const Options *o, Fault *f);
/* The same; what it prints on stdout comes by malloc. */
int run_to_text(RunCommand *command, const AmdimModel *m, const Options *o, char **text, Fault *f);
/* The same of stderr. */
int run_saying(RunCommand *command, const AmdimModel *m, const Options *o, char **said, Fault *f);
/* Options with nothing given. */
Options no_options(const AmdimModel *m);
/* A whole file by malloc, with a zero byte behind it; the test fails where there is none. */
char *read_whole(const char *path, size_t *count);

#endif
