/* shell.h: commands of the shell, run by a test that has begun its scratch folder (samples.h). */
#ifndef SHELL_H
#define SHELL_H

/* Runs a command, what it prints added to the scratch folder's file `log`; returns its exit code. */
int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The compiler under test: $BUILD/amdimc, or build/amdimc. */
const char *amdimc_path(void);
/* A compiler for its --cc, in the scratch folder: what compiles programs otherwise, but with these options
 * behind all others, and after commands of the shell. */
const char *compiler_with(const char *commands, const char *options);
/* One for programs whose numbers other tests hold at -O3: a third of the time. */
const char *quick_compiler(void);

/* For --march: a processor without matrix tiles, whose kernels this one can run. */
const char *march_by_vectors(void);

/* $PYTHON, python3 or /usr/bin/python3, whichever has the module; NULL where none has. */
const char *find_python(const char *module);
/* The same Python; the test is skipped where it is NULL. */
const char *wanted(const char *python);

#endif
