/*
 * crc32c.h - CRC-32C (Castagnoli), as iSCSI and ext4 use it.
 */
#ifndef CRC32C_H
#define CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of data behind what crc is the sum of; 0 to begin with: crc32c(crc32c(0, a), b) is that of ab. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
