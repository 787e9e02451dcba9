/* write_seeds.c: the seeds of every reader as files FOLDER/READER/NUMBER, for libFuzzer. */
#include "readers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef struct {
    char folder[512];
    int written;
} Place;

static void write_seed(void *arg, const uint8_t *bytes, size_t count)
{
    Place *p = arg;
    char path[600];
    snprintf(path, sizeof path, "%s/%d", p->folder, p->written++);
    FILE *stream = fopen(path, "wb");
    if (!stream || fwrite(bytes, 1, count, stream) != count || fclose(stream) != 0) {
        perror(path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    for (int i = 0; i < READERS; i++) {
        Place p = {.written = 0};
        snprintf(p.folder, sizeof p.folder, "%s/%s", argv[1], readers[i].name);
        mkdir(p.folder, 0777);
        seeds_of(readers[i].name, write_seed, &p);
        puts(readers[i].name);
    }
    return 0;
}
