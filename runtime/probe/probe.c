/* probe.c: the probes by name. */
#include "runtime.h"
#include <string.h>

Probe *probe_named(const char *head)
{
    static const struct {
        const char *name;
        Probe *probe;
    } heads[] = {{"linear", probe_linear}, {"mlp", probe_mlp}, {"knn", probe_knn}};
    for (size_t i = 0; i < COUNT(heads); i++)
        if (strcmp(heads[i].name, head) == 0)
            return heads[i].probe;
    return NULL;
}
