#include "records.h"

#include "copies.h"

#define CHECK_BYTES 2048u  // of a program that are hashed in one step

void records_verify(scheduler_t *s, uint32_t client) {
    client_t *c = &s->clients[client];
    const uint32_t bytes = c->record.program_size & ~3u;
    const uint32_t left = bytes - c->checked;
    const uint32_t piece = left < CHECK_BYTES ? left : CHECK_BYTES;
    if (piece != 0) {
        const uint32_t offset = c->record.program_offset + c->checked;
        controller_write(LEPTON_REG_COPY_CRC, c->crc);
        result_t result = copies_end(s, dif_copy_check_begin(client, offset, piece));
        if (result == RESULT_STUCK) {  // see copies_write
            controller_write(LEPTON_REG_COPY_CRC, c->crc);
            result = copies_end(s, dif_copy_check_begin(client, offset, piece));
        }
        c->crc = ~dif_copy_crc();
        if (result != RESULT_OK) {
            refuse(c, LEPTON_REFUSAL_MEMORY);
            return;
        }
        c->checked += piece;
    }
    if (c->checked == bytes) {
        if (~c->crc == c->record.program_hash) {
            c->state = RECORD_READY;
        } else {
            refuse(c, LEPTON_REFUSAL_PROGRAM_HASH);
        }
    }
}
