/* completion.h: --completion, which prints what a shell completes command lines by. */
#ifndef COMPLETION_H
#define COMPLETION_H

/* The exit code; `who` as in messages. */
int completion_print(const char *who, const char *shell);

#endif
