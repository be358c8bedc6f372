// The boot ROM: brings the firmware from the controller's window into code memory, checks it and locks it.
//
// The signature was verified by the driver, which is trusted with the window; the ROM checks what can go wrong on
// the way: the size, so that nothing but code memory is written, and the CRC32.

#include "dif_copy.h"
#include "mmio.h"

_Noreturn static void fail(lepton_boot_error_t error) {
    controller_write(LEPTON_REG_DETAIL, error);
    controller_write(LEPTON_REG_CONTROLLER_STATUS, LEPTON_BOOT_STATE_FAILED);
    controller_write(LEPTON_REG_CLIENT_IRQ, 1u << LEPTON_CLIENTS);
    for (;;) {  // nothing wakes it but a restart
        const uint32_t events = controller_read(LEPTON_REG_WAIT);
        controller_write(LEPTON_REG_EVENTS, events);
    }
}

_Noreturn void rom_main(void);

_Noreturn void rom_main(void) {
    controller_write(LEPTON_REG_CONTROLLER_STATUS, LEPTON_BOOT_STATE_ROM);
    lepton_image_header_t header;
    if (dif_copy_read(LEPTON_CONTROLLER_WINDOW, LEPTON_IMAGE_OFFSET, mmio_local(&header), sizeof header) != RESULT_OK) {
        fail(LEPTON_BOOT_ERROR_MEMORY);
    }
    if (header.magic != LEPTON_IMAGE_MAGIC) {
        fail(LEPTON_BOOT_ERROR_BAD_MAGIC);
    }
    if (header.architecture != LEPTON_VERSION) {
        fail(LEPTON_BOOT_ERROR_VERSION);
    }
    if (header.code_bytes == 0 || header.code_bytes > LEPTON_CODE_BYTES || (header.code_bytes & 3u) != 0) {
        fail(LEPTON_BOOT_ERROR_BAD_SIZE);
    }
    dif_copy_crc_start();
    if (dif_copy_read(LEPTON_CONTROLLER_WINDOW, LEPTON_IMAGE_OFFSET + sizeof header, LEPTON_CODE_BASE,
                      header.code_bytes) != RESULT_OK) {
        fail(LEPTON_BOOT_ERROR_MEMORY);
    }
    controller_write(LEPTON_REG_LOCK, 1);
    if (dif_copy_crc() != header.code_crc) {
        fail(LEPTON_BOOT_ERROR_BAD_CRC);
    }
    controller_write(LEPTON_REG_FIRMWARE, header.version);
    ((void (*)(void))(uintptr_t)LEPTON_CODE_BASE)();
    fail(LEPTON_BOOT_ERROR_BAD_SIZE);
}
