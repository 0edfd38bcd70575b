/**
 * Parts that are carried in a report and lie in a manifest: chunks as text, and back.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../lib/errors.js'
import type { PartRef, StoredPart } from '../lib/protocol/manifest.js'

type Chunks = readonly Uint8Array[]

/** The part with its chunks in it. */
export const inlinePart = (part: PartRef, chunks: Chunks): PartRef => ({
  ...part,
  inline: chunks.map(chunk => Buffer.from(chunk).toString('base64')),
})

/** The chunks in a part, verified (IP3); undefined: they are in the store. */
export const inlineChunks = (
  part: StoredPart,
  digestOf: (chunks: Chunks) => string,
): E.Either<StreamError, Chunks> | undefined => {
  if (part.inline === undefined) return undefined
  const chunks = part.inline.map((text): Uint8Array => Buffer.from(text, 'base64'))
  return digestOf(chunks) === part.digest ? E.right(chunks) : E.left(damaged(part))
}

const damaged = ({ subtask, epoch }: StoredPart): StreamError =>
  streamError(
    'corrupt',
    `the snapshot of ${JSON.stringify(subtask)} in the manifest of checkpoint ${epoch} is damaged: its bytes do not match the digest`,
    {
      next: "Restore the job store's data from its backup, or restore from a checkpoint that is whole.",
    },
  )
