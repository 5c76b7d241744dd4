"""One end of a TCP connection on the kernel's sockets: does what its standard input says, a JSON list a line, and answers each
line with a JSON object of what it saw. Errors are facts: {"error": "ECONNREFUSED"}."""
import errno, fcntl, json, select, socket, struct, sys, termios, time

PATIENCE_S = 20
listener = None
peer = None


def listen(address, port, receive_buffer=0, mss=0):
    global listener
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if mss:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    listener.bind((address, port))
    listener.listen(16)
    listener.settimeout(PATIENCE_S)


def accept():
    global peer
    peer, _ = listener.accept()
    peer.settimeout(PATIENCE_S)


def connect(address, port, mss=0):
    global peer
    peer = socket.socket()
    if mss:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    peer.settimeout(PATIENCE_S)
    peer.connect((address, port))


def send(count):
    peer.sendall(b"x" * count)


def receive(count):
    """Exactly that many bytes, or as many as there are before the end."""
    got = 0
    try:
        while got < count:
            piece = peer.recv(min(65536, count - got))
            if not piece:
                return {"bytes": got, "end": "FIN"}
            got += len(piece)
    except OSError as problem:
        return {"bytes": got, "end": name(problem)}
    return {"bytes": got}


def fill(quiet_s):
    """Sends until nothing more has been taken for that long."""
    peer.setblocking(False)
    sent = 0
    last = time.monotonic()
    while time.monotonic() - last < quiet_s:
        if select.select([], [peer], [], 0.05)[1]:
            sent += peer.send(b"x" * 65536)
            last = time.monotonic()
    peer.settimeout(PATIENCE_S)
    return {"bytes": sent}


def shutdown():
    peer.shutdown(socket.SHUT_WR)


def close():
    peer.close()


def reset():
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def queued():
    """Bytes that this kernel has acknowledged and the program has not read."""
    return {"bytes": struct.unpack("i", fcntl.ioctl(peer.fileno(), termios.FIONREAD, b"\0" * 4))[0]}


def info():
    """struct tcp_info (linux/tcp.h); the SYN counts as a byte acknowledged at the end that sent it."""
    raw = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    word = lambda at: struct.unpack_from("I", raw, at)[0]
    return {
        "state": raw[0],
        "peerWindowScale": raw[6] & 15,
        "sendMss": word(16),
        "pathMtu": word(60),
        "bytesAcked": struct.unpack_from("Q", raw, 120)[0],
        "peerWindow": word(228),
    }


def name(problem):
    if isinstance(problem, TimeoutError) and problem.errno is None:
        return "nothing"
    return errno.errorcode.get(problem.errno, str(problem))


CALLS = {f.__name__: f for f in (listen, accept, connect, send, receive, fill, shutdown, close, reset, queued, info)}
for line in sys.stdin:
    call, *arguments = json.loads(line)
    try:
        answer = CALLS[call](*arguments) or {}
    except OSError as problem:
        answer = {"error": name(problem)}
    print(json.dumps(answer), flush=True)
