/**
 * Run before the tests: what they need is there, or is installed while a person can read what is
 * being done. On standard error, so that results are alone on standard output.
 */
import * as E from 'fp-ts/lib/Either.js'
import { findBinaries } from '../../lib/adapters/servers/binaries.js'

const found = await findBinaries(['nats', 'redis'], line => console.error(line))()
if (E.isLeft(found)) {
  const { message, next } = found.left
  console.error(next === undefined ? message : `${message}\n${next}`)
  process.exitCode = 1
} else {
  const paths = Object.values(found.right).join(' and ')
  console.error(`tests on real servers run ${paths}`)
}
