/** Real folders, and the disk of the simulated world: held to the same. */
import { copyFolders } from '../../../lib/adapters/fs/copy-folders.js'
import { copyFoldersContract } from '../../contract/copy-folders.js'
import { MemoryDisk } from '../../support/memory-disk.js'
import { MemoryProcess, VirtualTime } from '../../support/memory-time.js'
import { newFolder } from './folder.js'

copyFoldersContract('folders', async t => {
  const folders = [await newFolder(t), await newFolder(t)]
  const open = () => copyFolders({ folders, now: Date.now })
  return { first: open(), second: open() }
})

copyFoldersContract('memory', async () => {
  const time = new VirtualTime()
  time.flow()
  const disk = new MemoryDisk(time)
  return {
    first: disk.of(new MemoryProcess('first', time)),
    second: disk.of(new MemoryProcess('second', time)),
  }
})
