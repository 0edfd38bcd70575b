/** Reads what a server printed last. */
import { open } from 'node:fs/promises'

const BYTES_MAX = 4_096
const LINES_MAX = 10

/**
 * The last lines of the file, of those written from the offset `start` in bytes on. Empty if it is
 * gone.
 */
export const tailOf = async (file: string, start: number): Promise<string> => {
  const log = await open(file, 'r').catch(() => undefined)
  if (log === undefined) return ''
  try {
    const { size } = await log.stat()
    const from = Math.max(start, size - BYTES_MAX)
    const { buffer, bytesRead } = await log.read(Buffer.alloc(BYTES_MAX), 0, BYTES_MAX, from)
    const lines = buffer.subarray(0, bytesRead).toString().trim().split('\n')
    return lines.slice(-LINES_MAX).join('\n')
  } finally {
    await log.close()
  }
}
