import { execFileSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { tempFolder } from "./temp-folder.ts";
import { waitUntil } from "./wait.ts";

/** A small file system, mounted for one test. Needs root. */
export interface MountedFolder extends AsyncDisposable {
  readonly path: string;
}

/** A file system in memory that is full after `megabytes`. */
export async function mountTmpfs(megabytes: number): Promise<MountedFolder> {
  const folder = await tempFolder("tmpfs");
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", folder.path]);
  return {
    path: folder.path,
    async [Symbol.asyncDispose]() {
      await unmount(folder.path);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** An ext4 file system in a file, whose power can be cut. */
export interface PowerCutDisk extends MountedFolder {
  /**
   * What a power cut does: nothing that is not on the disk by now will ever be, the journal's last
   * transaction included. Every later write on the mounted file system fails.
   */
  cutPower(): void;
  /** Mounts the file system again, as after a reboot, once nothing uses it any more. */
  remount(): Promise<void>;
}

/** `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`; Node has no ioctl. */
const shutDown = `
import fcntl, os, struct, sys
folder = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(folder, 0x8004587d, struct.pack("I", 2))
`;

export async function mountPowerCutDisk(megabytes: number): Promise<PowerCutDisk> {
  const folder = await tempFolder("power-cut");
  const image = join(folder.path, "image");
  const path = join(folder.path, "disk");
  await mkdir(path);
  execFileSync("truncate", ["-s", `${megabytes}M`, image]);
  execFileSync("mkfs.ext4", ["-q", image]);
  const mount = () => execFileSync("mount", ["-o", "loop", image, path]);
  mount();
  return {
    path,
    cutPower: () => execFileSync("python3", ["-c", shutDown, path]),
    async remount() {
      await unmount(path);
      mount();
    },
    async [Symbol.asyncDispose]() {
      await unmount(path);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** What a killed server has started may use its files for a moment longer. */
async function unmount(path: string): Promise<void> {
  await waitUntil(`nothing uses ${path}`, 10_000, () => {
    execFileSync("umount", [path], { stdio: "pipe" });
    return true;
  });
}
