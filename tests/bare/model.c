/* model.c: see model.h. */
#include "model.h"

static float *room_for(const Tensor *t, float *room, size_t room_bytes)
{
    if (t->count > room_bytes / sizeof *room)
        board_fail("there is no room for", t->name);
    return room;
}

void model_read(float *params, const char *folder, float *room, size_t room_bytes)
{
    for (int i = 0; i < CONST(TENSORS); i++) {
        const Tensor *t = &CALL(tensors)[i];
        const size_t bytes = t->count * sizeof(float);
        const File file = file_open(folder, t->name);
        if (file_bytes(file) != bytes)
            board_fail("a file is of another size than", t->name);
        file_read(file, room_for(t, room, room_bytes), bytes);
        file_close(file);
        CALL(set)(params, i, room);
    }
}

void model_write(const float *params, const char *folder, float *room, size_t room_bytes)
{
    for (int i = 0; i < CONST(TENSORS); i++) {
        const Tensor *t = &CALL(tensors)[i];
        const File file = file_new(folder, t->name);
        CALL(get)(params, i, room_for(t, room, room_bytes));
        file_write(file, room, t->count * sizeof(float));
        file_close(file);
    }
}
