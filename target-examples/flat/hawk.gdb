# Plays the two devices of hawk.S: gdb stops behind each access, and does what the device would do.

set confirm off
set pagination off

break *port_written
commands
silent
set $written = $al
printf "port 0x1e0: %d is written\n", $written
continue
end

break *port_read
commands
silent
set $al = $written + 1
printf "port 0x1e0: the answer is %d\n", $al
continue
end

break *register_written
commands
silent
set $written = $al
printf "address 0x100000: %d is written\n", $written
continue
end

break *register_read
commands
silent
set $al = $written - 1
printf "address 0x100000: the answer is %d\n", $al
continue
end

continue
