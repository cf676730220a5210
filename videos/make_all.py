"""Make every film and export of a scale whose inputs exist, and name the commands that make missing inputs."""

from videos import boundary, build, descent, export, grokking_path, growing_volume, surface_3d, surface_contours

ARTIFACTS = (
    surface_contours.FILMS
    | surface_3d.FILMS
    | boundary.FILMS
    | grokking_path.FILMS
    | descent.FILMS
    | growing_volume.FILMS
    | export.EXPORTS
)

if __name__ == "__main__":
    build.main(ARTIFACTS)
