/** The record codec of real processes: V8's structured clone, and columns for batches. */
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, SluiceError, type StreamError, streamError } from '../../errors.js'
import type { RecordCodec } from '../../ports/record-codec.js'
import { ColumnCodec } from './columns.js'
import { deserialize, serialize } from './v8.js'

const columns = new ColumnCodec()

/** One for all subtasks of a process: what was compiled for one serves the others. */
export const recordCodec: RecordCodec = {
  serialize: value => attempt(() => serialize(value, 'a record')),
  deserialize,
  serializeBatch: records => attempt(() => columns.serialize(records)),
  deserializeBatch: (bytes, count) => columns.deserialize(bytes, count),
}

const attempt = (write: () => Uint8Array): E.Either<StreamError, Uint8Array> =>
  E.tryCatch(write, thrown =>
    thrown instanceof SluiceError
      ? thrown.error
      : streamError('invalid', messageOf(thrown), { cause: thrown }),
  )
