/**
 * CRC-32 as in gzip and zip (polynomial 0xEDB88320, reflected). Written here because this folder must
 * not import the platform, and Node has it in `zlib` only.
 */
const table = new Uint32Array(256)
for (let byte = 0; byte < 256; byte += 1) {
  let crc = byte
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  table[byte] = crc >>> 0
}

/** The CRC-32 of `bytes`, going on from `before`, the checksum of the bytes that precede them. */
export const crc32 = (bytes: Uint8Array, before = 0): number => {
  let crc = ~before
  for (let index = 0; index < bytes.length; index += 1) {
    crc = (crc >>> 8) ^ (table[(crc ^ (bytes[index] ?? 0)) & 0xff] ?? 0)
  }
  return ~crc >>> 0
}
