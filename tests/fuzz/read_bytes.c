/* read_bytes.c: one of readers.c under libFuzzer; $READER names it. Files go to /dev/shm. */
#include "holds.h"
#include "readers.h"

#include <unistd.h>

enum { SECONDS_MOST = 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char folder[] = "/dev/shm/amdim-fuzz-XXXXXX";
static const Reader *reader;

static void remove_folder(void)
{
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    reader = reader_named(getenv("READER"));
    HOLDS(reader, "READER names no reader");
    HOLDS(mkdtemp(folder) && setenv("TMPDIR", "/dev/shm", 1) == 0, "no folder in /dev/shm");
    atexit(remove_folder);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    watch_time(SECONDS_MOST);
    reader->take(folder, data, size);
    watch_time(0);
    return 0;
}
