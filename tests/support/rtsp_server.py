"""An RTSP server with test pictures, by GStreamer's own, for the tests of network cameras.

    rtsp_server.py PORT [--auth basic|digest] [--transport tcp|udp] [--mounts N] [--codec h264|h265]
                   [--size 160x120] [--fps 15] [--bframes N]

PORT 0 takes a free one. Prints `ready PORT` on standard output; then obeys lines on standard input:
`size 320x240` changes the pictures' size, `mute` lets the connection stand and sends no more, `unmute` goes on,
`sessions` names the sessions that clients have.
Ends when standard input does. The user and the password are those of RTSP_TEST_USER and RTSP_TEST_PASSWORD.
"""

import argparse
import os
import sys
import threading

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
except (ImportError, ValueError) as error:
    print(f"absent {error}", flush=True)
    sys.exit(0)

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--auth", choices=["basic", "digest"])
parser.add_argument("--transport", choices=["tcp", "udp"])
parser.add_argument("--mounts", type=int, default=1)
parser.add_argument("--codec", choices=["h264", "h265"], default="h264")
parser.add_argument("--size", default="160x120")
parser.add_argument("--fps", type=int, default=15)
parser.add_argument("--bframes", type=int, default=0)
options = parser.parse_args()

Gst.init(None)
ENCODER = {"h264": "x264enc", "h265": "x265enc"}[options.codec]
for element in ["videotestsrc", ENCODER, f"rtp{options.codec}pay"]:
    if Gst.ElementFactory.find(element) is None:
        print(f"absent the GStreamer element {element}", flush=True)
        sys.exit(0)


def caps(size):
    width, height = size.split("x")
    return f"video/x-raw,format=I420,width={width},height={height},framerate={options.fps}/1"


TUNE = {
    "h264": f"x264enc speed-preset=ultrafast threads=1 key-int-max={options.fps} bitrate=200 "
    + (
        f"b-adapt=false bframes={options.bframes} ! video/x-h264,profile=main"
        if options.bframes
        else "tune=zerolatency"
    ),
    "h265": f"x265enc speed-preset=ultrafast tune=zerolatency key-int-max={options.fps} bitrate=200 "
    "option-string=pools=none:frame-threads=1",
}[options.codec]
# Each mount has a pattern of its own.
PATTERNS = ["smpte", "ball", "circular", "pinwheel", "spokes", "snow"]


def launch(index):
    pattern = PATTERNS[index % len(PATTERNS)]
    return (
        f"( videotestsrc is-live=true pattern={pattern} ! capsfilter name=size caps={caps(options.size)} ! "
        f"{TUNE} ! valve name=gate ! rtp{options.codec}pay name=pay0 pt=96 config-interval=-1 )"
    )


medias = []


def configured(_, media):
    medias.append(media)
    media.connect("unprepared", lambda gone: medias.remove(gone) if gone in medias else None)


server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(str(options.port))
for index in range(options.mounts):
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch(index))
    factory.set_shared(True)
    if options.transport == "tcp":
        factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
    if options.transport == "udp":
        factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    factory.connect("media-configure", configured)
    if options.auth:
        permissions = GstRtspServer.RTSPPermissions()
        for right in ["media.factory.access", "media.factory.construct"]:
            permissions.add_permission_for_role("viewers", right, True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory(f"/camera{index}", factory)

if options.auth:
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewers")
    user, password = os.environ["RTSP_TEST_USER"], os.environ["RTSP_TEST_PASSWORD"]
    if options.auth == "basic":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    server.set_auth(auth)

loop = GLib.MainLoop()
if server.attach(None) == 0:
    print(f"failed: port {options.port} cannot be had", flush=True)
    sys.exit(1)
print(f"ready {server.get_bound_port()}", flush=True)


def sessions():
    found = server.get_session_pool().filter(lambda _pool, _session: GstRtspServer.RTSPFilterResult.REF)
    return sorted(session.get_sessionid() for session in found)


def obey(line):
    words = line.split()
    if words[0] == "sessions":
        print("done", *sessions(), flush=True)
        return False
    for media in medias:
        element = media.get_element()
        if words[0] == "size":
            element.get_by_name("size").set_property("caps", Gst.Caps.from_string(caps(words[1])))
        elif words[0] in ("mute", "unmute"):
            element.get_by_name("gate").set_property("drop", words[0] == "mute")
    print(f"done {len(medias)}", flush=True)
    return False


def listen():
    for line in sys.stdin:
        if line.strip():
            GLib.idle_add(obey, line)
    GLib.idle_add(loop.quit)


threading.Thread(target=listen, daemon=True).start()
loop.run()
