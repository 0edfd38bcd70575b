/** `retention`: what is left of checkpoints when a job ends, with parts in a folder. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { expiryFile, fileToken, partFile } from '../../lib/adapters/fs/layout.js'
import type { Manifest } from '../../lib/protocol/manifest.js'
import { newFolder } from '../adapters/fs/folder.js'
import { type PartFate, retentionCells } from './retention-cells.js'

const folders = new WeakMap<ExecutionContext, string>()

/** A file is there, until the time that its folder names if it names one; or it is gone. */
const fateOf = (folder: string, manifest: Manifest, file: string): PartFate => {
  const at = join(folder, fileToken(manifest.job))
  if (!existsSync(join(at, file))) return 0
  const expiry = join(at, expiryFile)
  return existsSync(expiry) ? JSON.parse(readFileSync(expiry, 'utf8')).at - Date.now() : 'kept'
}

retentionCells({
  name: 'fs',
  settings: async t => {
    const folder = await newFolder(t)
    folders.set(t, folder)
    return { BACKEND: JSON.stringify({ type: 'fs', folder }) }
  },
  fates: async (t, _redis, manifest) =>
    manifest.parts.map(part => fateOf(folders.get(t) ?? '', manifest, partFile(part))),
})
