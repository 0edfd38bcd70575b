/**
 * How parts lie in a shared folder.
 *
 *   <folder>/<job>/owner.json                                      whose parts these are
 *   <folder>/<job>/expires.json                                    when none of them is needed any more
 *   <folder>/<job>/<epoch>-<generation>-<subtask>-<digest>.part    one part, whole
 *   <folder>/<job>/<any of these>.<TTL in ms>-<random>.tmp         one that is being written
 *
 * No file names another one or the folder: it may be moved or copied as it is.
 *
 * Invariants
 *   FL1. Names from users enter a name of a file escaped only, told apart also where a file system takes
 *       `A` for `a`, and shortened, with a digest of the whole, before a name is longer than 255 bytes.
 *   FL2. A part's name holds its digest: other bytes have another name, and never take its place.
 */
import { createHash } from 'node:crypto'
import type { Epoch, Generation } from '../../protocol/ids.js'
import type { StoredPart } from '../../protocol/manifest.js'
import { token } from '../../protocol/names.js'

/** Whose parts a job's folder holds. */
export const ownerFile = 'owner.json'

/** Until when an ended job's parts are needed; absent: no end is known. */
export const expiryFile = 'expires.json'

const nameCharsMax = 100

/** A user's name as a part of a file's name. */
export const fileToken = (name: string): string => {
  const escaped = token(name).replace(/[A-Z]/g, letter => `+${letter.toLowerCase()}`)
  if (escaped.length <= nameCharsMax) return escaped
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 32)
  // `token` makes no `~`: a shortened name is like no other.
  return `${escaped.slice(0, nameCharsMax - digest.length - 1)}~${digest}`
}

const digestChars = 32

/** The name of a part's file, within its job's folder. */
export const partFile = ({
  subtask,
  epoch,
  generation,
  digest,
}: Pick<StoredPart, 'subtask' | 'epoch' | 'generation' | 'digest'>): string =>
  `${epoch}-${generation}-${fileToken(subtask)}-${digest.slice(0, digestChars)}.part`

/** The name under which a file is written before it is whole. */
export const temporaryFile = (file: string, ttlMs: number, random: string): string =>
  `${file}.${Math.ceil(ttlMs)}-${random}.tmp`

/** What a name in a job's folder says. */
export type FileName =
  | { readonly type: 'part'; readonly epoch: Epoch; readonly generation: Generation }
  | { readonly type: 'temporary'; readonly epoch: Epoch; readonly ttlMs: number }

const part = /^(\d{1,16})-(-?\d{1,16})-[0-9a-z=+~-]+-[0-9a-f]{32}\.part/
const whole = new RegExp(`${part.source}$`)
const ending = /\.(\d{1,16})-[0-9a-f-]{36}\.tmp$/
const temporary = new RegExp(`${part.source}${ending.source}`)
const temporaryNote = new RegExp(`^(?:owner|expires)\\.json${ending.source}`)

/** What a file is, by its name; undefined: not one of ours. */
export const parseFileName = (name: string): FileName | undefined => {
  const [, epoch, generation] = whole.exec(name) ?? []
  if (epoch !== undefined)
    return { type: 'part', epoch: Number(epoch), generation: Number(generation) }
  const [, noteTtlMs] = temporaryNote.exec(name) ?? []
  // It belongs to no checkpoint: whoever writes it now may be of the next life.
  if (noteTtlMs !== undefined)
    return { type: 'temporary', epoch: Number.POSITIVE_INFINITY, ttlMs: Number(noteTtlMs) }
  const [, writtenFor, , ttlMs] = temporary.exec(name) ?? []
  return ttlMs === undefined
    ? undefined
    : { type: 'temporary', epoch: Number(writtenFor), ttlMs: Number(ttlMs) }
}
