"""Every video and export of a scale whose inputs exist, and the commands that make what is missing."""

import boundary
import export
import grokking_path
import growing_volume
import studio
import surface_3d
import surface_contours

PIECES = (
    surface_contours.FILMS
    | surface_3d.FILMS
    | boundary.FILMS
    | grokking_path.FILMS
    | growing_volume.FILMS
    | export.EXPORTS
)

if __name__ == "__main__":
    studio.main(PIECES)
