# what: LVM metadata, partition tables and superblocks that lead in circles or out of the disk
# short
truncate -s 96M "$D/pv.img"; loop "$D/pv.img"; pv=$loop
pvcreate -q -q -ff -y --metadatasize 1m "$pv" >/dev/null 2>&1 || true
let_go
cp "$D/pv.img" "$D/nested.img"
# The text area: braces without end, a segment that maps onto itself, offsets beyond the disk.
python3 - "$D" <<'P'
import struct,sys
d=sys.argv[1]
def patch(name, text, offset=None, size=None):
    raw=bytearray(open(d+'/pv.img','rb').read())
    at=raw.find(b' LVM2 x[5A%r0N*>')
    if at<0: at=4096+4
    start=at-4
    off=512 if offset is None else offset
    n=len(text) if size is None else size
    raw[start+4+16+4+8+8:start+4+16+4+8+8+24]=struct.pack('<QQII',off,n,0,0)
    raw[start+512:start+512+len(text)]=text
    open(d+'/'+name,'wb').write(raw)
patch('braces.img', b'vg {\n'*120000)
patch('out.img', b'x', offset=1<<62, size=1<<62)
patch('long.img', b'vg { id = "a" seqno = 1\nlogical_volumes { a { segment_count = 4000000000 } } }')
patch('self.img', b'vg { id="x" extent_size=8192 physical_volumes { pv0 { id="x" pe_start=2048 pe_count=9 } } logical_volumes { root { id="r" segment_count=1 segment1 { start_extent=0 extent_count=1 type="striped" stripe_count=1 stripes=["root",0] } } } }')
# Extended partitions in a ring.
raw=bytearray(8<<20); raw[510:512]=b'\x55\xaa'
raw[446:462]=struct.pack('<B3sB3sII',0,b'\0\0\0',5,b'\0\0\0',2048,8192)
ebr=bytearray(512); ebr[510:512]=b'\x55\xaa'; ebr[446:462]=struct.pack('<B3sB3sII',0,b'\0\0\0',0x83,b'\0\0\0',1,10); ebr[462:478]=struct.pack('<B3sB3sII',0,b'\0\0\0',5,b'\0\0\0',0,8192)
raw[2048*512:2048*512+512]=ebr
open(d+'/ring.img','wb').write(raw)
# GPT with four thousand million entries.
raw=bytearray(8<<20); raw[510:512]=b'\x55\xaa'; raw[446:462]=struct.pack('<B3sB3sII',0,b'\0\0\0',0xee,b'\0\0\0',1,16383)
raw[512:512+92]=struct.pack('<8sIIIIQQQQ16sQIII',b'EFI PART',0x10000,92,0,0,1,16383,34,16350,b'x'*16,2,0xffffffff,0xffffffff,0)
open(d+'/gpt.img','wb').write(raw)
P
for name in pv braces out long self ring gpt; do
    run check "$D/$name.img"; status_is 1 2
    run fix --yes --risky "$D/$name.img"
done
# File systems that are mostly lies.
lab_image "$D/disk.img"; read -r start < <(sfdisk --json "$D/disk.img" | tr -d ' \n' | sed 's/.*"partitions":\[{[^}]*"start":\([0-9]*\).*/\1/' && echo)
for n in 1 2 3; do
    cp --sparse=always "$D/disk.img" "$D/lie.img"
    # Everything of the superblock but its magic.
    head -c 56 /dev/urandom | dd of="$D/lie.img" bs=1 seek="$((start * 512 + 1024))" conv=notrunc status=none
    run -s 30 check "$D/lie.img"; status_is 1 2
done
