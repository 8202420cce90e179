import { expect, test } from "vitest";
import { mirrorOf, parseDependencies, parseUris } from "../../ts/guest/apt.js";

test("the mirror is Debian's own archive, as the host's apt has it", () => {
  const uris = [
    "https://example.org/cloud-sdk/",
    "http://mirror.example/debian-security/",
    "http://mirror.example/debian/",
  ];
  expect(mirrorOf(uris)).toBe("http://mirror.example/debian");
  expect(mirrorOf(["http://archive.ubuntu.com/ubuntu/"])).toBeUndefined();
});

test("what would be fetched", () => {
  const output = [
    "'http://m.example/debian/pool/main/l/linux/linux-image-6.1_6.1.1_ppc64el.deb' linux-image-6.1_6.1.1_ppc64el.deb 48910220 SHA256:ab",
    "'http://m.example/debian/pool/main/b/busybox/b.deb' b.deb 12 MD5Sum:cd",
    "",
  ].join("\n");
  expect(parseUris(output)).toEqual([
    { name: "linux-image-6.1_6.1.1_ppc64el.deb", bytes: 48910220 },
    { name: "b.deb", bytes: 12 },
  ]);
});

test("dependencies, without virtual packages and what is only recommended", () => {
  const output = `linux-image-powerpc64le
  PreDepends: linux-base
  Depends: linux-image-6.1.0-50-powerpc64le
 |Depends: <initramfs-tools>
  Depends: <linux-initramfs-tool>
    dracut
  Depends: python3:any
  Recommends: apparmor
  Conflicts: rustup
`;
  expect(parseDependencies(output)).toEqual(["linux-base", "linux-image-6.1.0-50-powerpc64le", "python3"]);
});
