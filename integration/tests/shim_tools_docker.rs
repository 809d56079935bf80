//! `cp`, `stats`, `events`, `update`, `system df`, `system prune`, `info` and `inspect` beside Docker: the same command lines,
//! what they print and say.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod beside;

use beside::Beside;
use integration::engine::Docker;
use integration::skip;

/// Files into a container and out of it.
const COPIES: &[&str] = &[
    "mkdir -p src/sub; echo hi >src/f; echo sub >src/sub/g; ln -s f src/link; ln -s nowhere src/dang; chmod 4755 src/f; chown 1000:1000 src/sub/g",
    "d run -d --name c1 -v vol:/vol --network none made sh -c 'mkdir -p /data/d; echo x >/data/x; chown 7:8 /data/x; ln -s x /data/l; \
     ln -s /nowhere /data/dang; ln -s /data /ldir; ln -s /missing/place /deep; touch /ready; exec sleep 1000' >/dev/null; \
     until d exec c1 test -e /ready; do sleep 0.1; done",
    "d cp src c1:/t1; d exec c1 find /t1 | sort",
    "d cp src c1:/t1; d exec c1 find /t1 | sort",
    "d cp src/. c1:/t2; d exec c1 find /t2 | sort",
    "d cp src/ c1:/t3/; d exec c1 find /t3 | sort",
    "d cp src/. c1:/t1; d exec c1 ls /t1",
    "d cp src/f c1:/newf; d exec c1 stat -c '%u %g %a' /newf",
    "d cp src/f c1:/newdir/; d exec c1 ls /newdir",
    "~ d cp src/f c1:/missing/f",
    "d cp src/f c1:/data; d exec c1 stat -c '%u %g %a' /data/f",
    "d cp src c1:/data/x",
    "~ d cp src/f c1:/data/x/",
    "d cp src/f c1:/data/dang; d exec c1 sh -c 'ls -l /nowhere /data/dang | cut -c1'",
    "~ d cp src/f c1:/data/dang/",
    "~ d cp src/f c1:/deep",
    "~ d cp src/nothing c1:/x",
    "~ d cp c1:/nothing x",
    "d cp c1:/data out1; find out1 | sort",
    "d cp c1:/data out1; find out1 | sort",
    "d cp c1:/data/. out2; find out2 | sort",
    "d cp c1:/data/x out3; stat -c '%u %g %a' out3",
    "d cp c1:/data/l out4; stat -c %F out4",
    "d cp -L c1:/data/l out5; stat -c %F out5",
    "d cp c1:/data/dang out6; readlink out6",
    "d cp c1:/ldir out7; stat -c %F out7",
    "d cp c1:/ldir/ out8; stat -c %F out8",
    "~ d cp c1:/data/x nodir/x",
    "d cp c1:/data/x nodir/",
    "d cp c1:/data out3",
    "d cp c1:/data/x src; ls src",
    "d cp c1:/data - | tar tv --numeric-owner | awk '{print $1, $2, $6, $7, $8}'",
    "d cp c1:/data/x - | tar t",
    "d cp c1:/data/. - | tar t",
    "d cp c1:/data/l - | tar tv | awk '{print $1, $6, $7, $8}'",
    "tar c -C src . | d cp - c1:/data/d; d exec c1 ls -ln /data/d | awk '{print $1, $3, $4, $9}'",
    "tar c -C src . | d cp - c1:/nodir",
    "tar c -C src . | d cp - c1:/data/x",
    "~ echo garbage | d cp - c1:/data/d",
    "d cp src/f c1:/vol/; d exec c1 ls /vol",
    "~ d cp c1:/dev/null devnull; status=$?; ls devnull; exit $status",
    "~ d cp c1:/proc/1/cmdline cmdline",
    "d cp c1:/proc made-up; find made-up",
    "~ d cp src/f c1:/etc/hosts",
    "d cp src/link c1:/lk; d exec c1 readlink /lk",
    "d cp -L src/link c1:/lk2; d exec c1 cat /lk2",
    "~ d cp -L src/dang c1:/lk3",
    "d cp -a src c1:/arch; d exec c1 stat -c '%u %g %a' /arch/sub/g /arch/f",
    "d cp c1:/data c1:/y",
    "d cp x y",
    "~ d cp c1: y",
    "d cp :x y",
    "~ d cp nothing:/x y",
    "d cp '' c1:/x",
    "d cp c1:/x ''",
    "d cp - -",
    "~ d cp c1:/data",
    "d stop -t0 c1; d cp src/f c1:/vol/f2; d cp c1:/vol/f2 vf; cat vf; d cp c1:/data/x xx; cat xx",
    "d cp src c1:/stopped; d start c1; d exec c1 find /stopped | sort",
    "d rm -f -v c1; d volume rm vol",
    // A place of a volume that a link leads to which leads to nothing yet.
    "d run --name dangling --network none made ln -s /nothing/there /dl; d commit dangling linked >/dev/null; d rm dangling",
    "d create --name linked -v linked:/dl/m --network none linked true >/dev/null; d cp linked:/etc/hostname - | tar t",
    "d cp src/f linked:/dl/m/x; d start -a linked; d cp linked:/nothing/there/m/x - | tar t",
    "d rm -v linked; d volume rm linked; d rmi linked | head -n1",
];

/// What containers use, and may use.
const LIMITS: &[&str] = &[
    "d run -d --name c1 --network none made >/dev/null; d create --name c2 --network none made >/dev/null",
    "d stats --no-stream --format 'table {{.Name}}\\t{{.Container}}' c1 c2",
    "d stats --no-stream --all --format '{{.Name}}'",
    "d stats --no-stream --format '{{.Name}}'",
    "d stats --no-stream c2 | sed 's/^[0-9a-f]\\{12\\}/ID/'",
    "d stats --no-stream --format '{{.Container}} {{.Name}} {{.ID}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.NetIO}} {{.BlockIO}} {{.PIDs}}' c2",
    "d stats --no-stream --format '{{json .}}' c2",
    "~ d stats --no-stream --format '{{.Foo}}' c1",
    "d stats --no-stream nothing",
    "d stats --no-stream c1 nothing",
    "d stats --no-stream --no-trunc --format '{{.ID}}' c1 | wc -c",
    "d update c1",
    "d update --memory x c1",
    "~ d update --memory 1k c1",
    "d update --memory-swap -1 c1",
    "d update --cpus x c1",
    "~ d update --cpus 0.5 --cpu-period 1000 c1",
    "d update --restart always c1",
    "~ d update --restart nonsense c1",
    "~ d update --restart no:3 c1",
    "~ d update --restart on-failure:x c1",
    "d update --restart no nothing c1",
    "~ d update",
    "d inspect c1 --format '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}}'",
    "d run --rm --memory x made",
    "d run --rm --memory 1k made",
    "d run --rm --memory-swap 1g --network none made",
    "d run --rm --memory-swap -1 --network none made true",
    "d run --rm --cpus x made",
    "~ d run --rm --gpus all --network none made true",
    "d run --rm --gpus x=y made",
    "d rm -f c1 c2",
];

/// What has happened.
const EVENTS: &[&str] = &[
    "date +%s.%N >since; d network create --subnet 10.8.0.0/16 evn >/dev/null; d volume create evv",
    "d run -d --name e1 --network evn -v evv:/v -l k=v made sh -c 'trap \"rm /ready; exit 3\" TERM; touch /ready; while :; do sleep 0.1; done' >/dev/null; \
     until d exec e1 test -e /ready; do sleep 0.1; done",
    "d pause e1; d unpause e1; d rename e1 e2; d update --restart no e2; d kill -s USR1 e2; d network disconnect evn e2; d network connect evn e2",
    "up() { until d exec e2 test -e /ready; do sleep 0.1; done; }; d stop e2; d start e2; up; d restart e2; up; d kill e2; d wait e2",
    "echo x >in; d cp in e2:/tmp; d cp e2:/tmp/in out",
    // Docker tells of whole seconds that are over.
    "d rm -v e2; d network rm evn; d volume rm evv; sleep 1.5",
    "d events --since $(cat since) --until 0s -f type=container --format '{{.Action}} {{json .Actor.Attributes}}' | grep -v exec_ | \
     sed 's/\"execDuration\":\"[0-9]*\",//'",
    "d events --since $(cat since) --until 0s -f type=network --format '{{.Action}} {{json .Actor.Attributes}}' | uniq",
    "d events --since $(cat since) --until 0s -f type=volume --format '{{.Action}} {{.Actor.ID}}' | sort -u",
    "d events --since $(cat since) --until 0s -f event=mount --format '{{json .Actor.Attributes}}' | sort -u",
    "d events --since $(cat since) --until 0s -f container=e1 -f event=start --format '{{.Status}} {{.ID}} {{.From}} {{.Type}} {{.Scope}}'",
    "d events --since $(cat since) --until 0s -f label=k=v -f event=die --format '{{.Action}}'",
    "d events --since $(cat since) --until 0s -f image=made -f event=create --format '{{.Action}}'",
    "d events --since $(cat since) --until 0s -f network=evn -f event=connect -f scope=local --format '{{.Actor.ID}}' | wc -l",
    "d events --since $(cat since) --until 0s -f type=network -f event=destroy --format '{{json .}}' | sed 's/\"time.*//'",
    "d events --since $(cat since) --until 0s -f container=e2 -f event=destroy | cut -d' ' -f2-",
    "d events --since 1h --until 0s -f event=create -f network=evn --format '{{.Action}}'",
    "d events --since $(date -u +%Y-%m-%dT%H:%M:%SZ -d '-1 hour') --until 0s -f event=create -f network=evn --format '{{.Action}}'",
    "d events --since $(date +%Y-%m-%dT%H:%M -d '-1 hour') --until 0s -f event=create -f network=evn --format '{{.Action}}'",
    "d events --since $(date +%s) --until 0s -f event=create -f network=evn --format '{{.Action}}'",
    "~ d events --since x --until 0s",
    "d events --until 0s --since 1h --filter x",
    "~ d events --until 0s x",
];

/// What takes the disk, and what nobody needs; what is not there.
const REST: &[&str] = &[
    "d run --name d1 --network none -v dfv:/v made sh -c 'dd if=/dev/zero of=/file bs=1000 count=3000 2>/dev/null; \
     dd if=/dev/zero of=/v/file bs=1000 count=2000 2>/dev/null'; d run -d --name d2 --network none made >/dev/null; d volume create unused",
    "d system df | grep -v ^Images",
    "d system df --format '{{.Type}} {{.Active}}'",
    "d system df --format 'table {{.Type}}\\t{{.TotalCount}}' | grep -v ^Images",
    "d system df --format '{{json .}}' | grep -v Images",
    "d system df -v | sed -n '/^Local/,$p'",
    "d system df -v | grep REPOSITORY | tr -s ' '; d system df -v | grep ^made | awk '{print $1, $2, $3, $NF}'",
    "d system df -v --format '{{range .Containers}}{{.Names}} {{.Image}} {{.Size}} {{.LocalVolumes}} {{.Mounts}} {{.State}};{{end}}'",
    "d system df -v --format '{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}} {{.Driver}} {{.Scope}};{{end}}' | tr ';' '\\n' | grep . | sort",
    "d system df -v --format '{{range .Images}}{{.Repository}} {{.Tag}} {{.ID}} {{.Size}} {{.Containers}} {{.CreatedAt}};{{end}}' | grep -o 'made[^;]*'",
    "d system df -v --format '{{.BuildCache}}'",
    "~ d system df --format '{{.Nothing}}'",
    "~ d system df x",
    "d system prune --volumes --filter until=1h",
    "~ d system prune --filter x=y -f",
    "d system prune --filter x -f",
    "d system prune </dev/null | grep -v 'build cache'",
    "d network create --subnet 10.9.0.0/16 gone >/dev/null; d rm -v d1; d system prune -f",
    "d rm -f d2; d volume rm dfv unused",
    "d info --format '{{.Swarm.LocalNodeState}} {{.CgroupDriver}} {{.IPv4Forwarding}} {{.Driver}} {{.LoggingDriver}} {{.NCPU}} {{.OSType}} {{.Plugins.Volume}}'",
    "d inspect nosuch",
    "d inspect nosuch other --format '{{.Id}}' 2>&1 | grep Error",
    "d inspect --type container nosuch",
    "~ d inspect --type image nosuch",
    "~ d inspect --type network nosuch",
    "~ d volume inspect nosuch",
];

#[test]
fn files_are_copied_as_by_docker() {
    if let Some(obstacle) = Docker::obstacle() {
        skip!("{obstacle}");
    }
    Beside::start().expect_same(COPIES);
}

#[test]
fn figures_limits_and_events_are_dockers() {
    if let Some(obstacle) = Docker::obstacle() {
        skip!("{obstacle}");
    }
    let both = Beside::start();
    both.expect_same(LIMITS);
    both.expect_same(EVENTS);
    both.expect_same(REST);
}
