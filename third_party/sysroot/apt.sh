# private_apt DIR ARCH SUITE: makes later apt-get calls of this shell work on DIR alone: own lists, status and cache, the
# host's mirror and network settings. Reads and writes nothing of the host's package state and needs no root.
private_apt() {
  local dir=$1 arch=$2 suite=$3 mirror
  mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 2>/dev/null |
    awk '$2 == "Debian" && $1 ~ /\/debian\/?$/ { print $1; exit }')}
  [ -n "$mirror" ] || { echo "no Debian mirror among apt's sources; name one in DEBIAN_MIRROR" >&2; return 1; }
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  mkdir -p "$dir"/parts "$dir"/lists/partial "$dir"/cache/archives/partial "$dir"/log
  : > "$dir/status"
  printf 'deb [signed-by=%s] %s %s main\ndeb-src [signed-by=%s] %s %s main\n' \
    $keyring "$mirror" "$suite" \
    $keyring "$mirror" "$suite" > "$dir/sources.list"
  # An old suite's index is past its validity date by design; its signature is still checked.
  { apt-config dump Acquire
    cat <<CONF
Dir "/"; Dir::Etc "$dir"; Dir::Etc::Parts "$dir/parts"; Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "$dir/parts"; Dir::Etc::PreferencesParts "$dir/parts"; Dir::Etc::Preferences "$dir/none";
Dir::State "$dir"; Dir::State::Lists "$dir/lists"; Dir::State::Status "$dir/status";
Dir::Cache "$dir/cache"; Dir::Cache::Archives "$dir/cache/archives"; Dir::Log "$dir/log";
APT::Architecture "$arch"; APT::Architectures { "$arch"; }; APT::Install-Recommends "0"; APT::Sandbox::User "root";
Acquire::Languages "none"; Acquire::Check-Valid-Until "false"; Acquire::Retries "3"; Debug::NoLocking "1";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
  } > "$dir/apt.conf"
  export APT_CONFIG="$dir/apt.conf"
  apt-get -qq update
}
