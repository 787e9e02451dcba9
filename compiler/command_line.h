/* command_line.h: amdimc's command line but for a sweep's. */
#ifndef COMMAND_LINE_H
#define COMMAND_LINE_H

#include "tune/tune.h"

typedef enum {
    MAKE_PROGRAM,
    MAKE_C,
    MAKE_LIBRARY,
    MAKE_PYTORCH,
    MAKE_ONNX,
    MAKE_IR,
    MAKE_EXPLAIN,
    MAKE_EXPLAIN_JSON,
    MAKE_CHECK,
    MAKE_TUNE
} Make;

typedef struct {
    Make make;
    const char *spec;
    Overrides overrides;
    Choices choices;
    double seconds; /* of a run of --tune */
    TrainedWeights trained;
    int scale; /* of --emit=onnx, or 0: f_1 */
    Build build;
} Command;

/* What goes where -o says ("program", "C", ...), or NULL. */
const char *made_in_files(Make make);
/* What goes to standard output where -o is absent or "-"; only the PyTorch module has to be told so. */
bool is_text(Make make);
/* What to end with, or GO_ON. */
int command_parse(Command *c, int argc, char **argv);

#endif
