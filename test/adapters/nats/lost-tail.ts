/** What a power cut leaves of a stream whose newest messages were not synced. */
import { readdir, readFile, truncate } from 'node:fs/promises'
import { join } from 'node:path'

const lengthMask = 0x7fffffff

/**
 * Cuts the newest block of a stream off behind a sequence, while its server is down. A block is a
 * row of messages, each with its length (whose highest bit says whether there are headers) and its
 * sequence in front.
 */
export const loseTail = async (storeDir: string, stream: string, above: number): Promise<void> => {
  const folder = join(storeDir, 'jetstream', '$G', 'streams', stream, 'msgs')
  const blocks = (await readdir(folder)).filter(name => name.endsWith('.blk'))
  const [newest] = blocks.sort((a, b) => Number.parseInt(b, 10) - Number.parseInt(a, 10))
  if (newest === undefined) throw new Error(`stream ${stream} has no block in ${folder}`)
  const block = await readFile(join(folder, newest))
  for (let at = 0; at < block.length; at += block.readUInt32LE(at) & lengthMask) {
    if (block.readBigUInt64LE(at + 4) <= BigInt(above)) continue
    await truncate(join(folder, newest), at)
    return
  }
  throw new Error(`stream ${stream} holds nothing above ${above} in its newest block`)
}
